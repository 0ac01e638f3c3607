"""What the README and docs/ show of `billing` are commands that there are."""

import re
import shlex

import click
import pytest

from client.cli import cli
from tests.docs.pages import TEXT
from tests.service import ROOT

SHOWN = sorted(
    {
        " ".join(each.split())
        for each in [
            *re.findall(r"`billing ([a-z-][^`]*)`", TEXT),
            *re.findall(r"^(?:\.venv/bin/)?billing ([a-z-](?:.*\\\n)*.*)$", TEXT, re.MULTILINE),
        ]
    }
)


def test_the_page_shows_commands() -> None:
    assert len(SHOWN) >= 5


@pytest.mark.parametrize("line", SHOWN)
def test_commands_are_known_with_their_options(line: str) -> None:
    words = [word for word in shlex.split(line.replace("\\ ", " ")) if word != "…"]
    command: click.Command = cli
    known: set[str] = set()
    while words and isinstance(command, click.Group):
        known |= {option for each in command.params for option in each.opts}
        word = words.pop(0)
        if not word.startswith("-"):
            assert word in command.commands, line
            command = command.commands[word]
    known |= {
        option for each in command.params for option in [*each.opts, *each.secondary_opts]
    } | {"--help"}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_table_has_every_command() -> None:
    page = (ROOT / "docs/callers/command-line.md").read_text()
    told = {
        group: {name.split()[0] for name in re.findall(r"`([a-z-]+)", line)}
        for group, line in re.findall(r"^\| `([a-z]+)` \| (.*) \|$", page, re.MULTILINE)
    }
    there = {
        name: set(group.commands)
        for name, group in cli.commands.items()
        if isinstance(group, click.Group) and name != "profile"
    }
    assert {group: there[group] - names for group, names in told.items()} == {
        group: set() for group in there
    }
