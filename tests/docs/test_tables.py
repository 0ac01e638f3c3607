"""What the README and docs/ say of methods, settings and commands is complete and true."""

import json
import re

import click
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.rpc import code_pb2

from gateway.replies import REPLIES
from server.commands import cli
from server.config import Settings
from server.rpc.pipeline.errors import CODES
from tests.docs.pages import PAGES, README, TEXT
from tests.service import ROOT

COMMANDS = sorted(set(re.findall(r"`billing-server ([a-z][^`]*)`", TEXT)))


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_the_node_sdk_is_installed_as_it_is_tested() -> None:
    package = json.loads((ROOT / "tests/clients/nodejs_sdk/package.json").read_text())
    ((name, version),) = package["dependencies"].items()
    lock = json.loads((ROOT / "tests/clients/nodejs_sdk/package-lock.json").read_text())
    oldest_node = lock["packages"][f"node_modules/{name}"]["engines"]["node"].removeprefix(">=")
    for page in (README, ROOT / "docs/callers/clients.md"):
        assert f"`npm install {name}@{version}`" in page.read_text()
        assert f"Node.js {oldest_node.removesuffix('.0')} or later" in page.read_text()


def test_every_method_and_path_is_listed() -> None:
    methods = (ROOT / "docs/callers/methods.md").read_text()
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/descriptors.pb").read_bytes())
    missing = []
    for file in files.file:
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    verb = each.WhichOneof("pattern")
                    path = getattr(each, verb) if verb else None
                    line = f"`{verb.upper()} {path}`" if verb and path else f"`{method.name}`"
                    if line not in methods:
                        missing.append(f"{service.name}.{method.name}: {line}")
    assert missing == []


def test_every_setting_is_listed_with_its_default() -> None:
    settings = (ROOT / "docs/operators/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        (row,) = re.findall(
            rf"^\| `BILLING_{name.upper()}` \| (.*?) \| (.*?) \|$", settings, re.MULTILINE
        )
        assert row == (f"`{field.default}`" if field.default != "" else "", field.description)


def test_every_reason_is_listed_with_its_code() -> None:
    page = (ROOT / "docs/callers/errors.md").read_text()
    listed = dict(re.findall(r"^\| `([A-Z_0-9]+)` \| ([A-Z_]+)", page, re.MULTILINE))
    ours = {reason.value: code_pb2.Code.Name(code) for reason, code in CODES.items()}
    lua = (ROOT / "gateway/lua").glob("*.lua")
    refused = {
        reason
        for file in lua
        for reason in re.findall(r'refuse\(handle, \d+, "([A-Z_]+)"', file.read_text())
    }
    assert refused
    assert listed.keys() == ours.keys() | {reply.reason for reply in REPLIES} | refused
    assert {reason: listed[reason] for reason in ours} == ours


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_exist(words: str) -> None:
    command: click.Command = cli
    names = words.split()
    while isinstance(command, click.Group):
        command = command.commands[names.pop(0)]
    known = {
        option
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    assert {name for name in names if name.startswith("-")} <= known


def test_every_page_is_listed_in_its_folder() -> None:
    for page in PAGES:
        if page.parent.parent.name == "docs" and page.name != "index.md":
            assert f"({page.name})" in (page.parent / "index.md").read_text(), page
