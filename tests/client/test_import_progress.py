"""What an import shows while it runs, at any width, without colour, and without a terminal."""

import io
import re

import pytest
from rich.console import Console

from client.importing.progress import Steps

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def shown(width: int, doing: str = "inviting", total: int | None = 100_000) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system="truecolor")
    with Steps(console, doing, total) as steps:
        for _ in range(12_345):
            steps.step()
        steps.tell("waiting until 14:20: The limit of 50000 e-mails is reached.")
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("doing", ["checking", "inviting", "e-mails"])
def test_progress_fits_one_line_of_any_width(width: int, doing: str) -> None:
    drawn = [_CONTROL.sub("", line).strip("\r") for line in shown(width, doing).split("\n")]
    bars = [line for line in drawn if "12345/100000" in line or "12%" in line]
    assert bars
    assert all(len(line) <= width for part in bars for line in part.split("\r"))
    assert all("━" in line and "…" not in line for line in bars)


def test_no_color_takes_colours_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _COLOUR.search(shown(80))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not _COLOUR.search(shown(80))


def test_without_a_terminal_progress_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.importing.progress._LINES_S", 0.0)
    out = io.StringIO()
    with Steps(Console(file=out, width=40), "inviting", 2_000) as steps:
        for _ in range(1_000):
            steps.step()
        steps.tell("waiting until 14:20: The limit of 50000 e-mails is reached.")
    lines = out.getvalue().splitlines()
    assert re.fullmatch(r"inviting: 1,000 of 2,000, [0-9,]+/s, about [0-9]+ s left", lines[999])
    assert lines[1000] == "waiting until 14:20: The limit of 50000 e-mails is reached."
    assert "\x1b" not in out.getvalue()
