"""The README tells the truth: its snippets run as they stand, its tables are complete."""

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from server.config import Settings
from tests.service import ROOT, Service

README = (ROOT / "README.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


class Place(NamedTuple):
    """Where a snippet is run."""

    folder: Path
    env: dict[str, str]


@pytest.fixture(params=["checkout", "elsewhere"])
def place(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """A checkout in which the service runs, or any other folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    if request.param == "checkout":
        (tmp_path / "var").symlink_to(service.var)
        return Place(tmp_path, clean)
    return Place(tmp_path, {**clean, "BILLING_VAR": str(service.var)})


def run(command: list[str], place: Place) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shell(snippet: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", snippet]


def python(snippet: str) -> list[str]:
    return [str(ROOT / ".venv" / "bin" / "python"), "-c", snippet]


@pytest.mark.parametrize("snippet", snippets("bash"))
def test_shell_snippets_run_again_and_again(snippet: str, place: Place) -> None:
    for _ in range(2):
        done = run(shell(snippet), place)
        assert done.returncode == 0, done.stderr
        assert '"done":' in done.stdout.replace(" ", "")
        assert '"error"' not in done.stdout
        assert '"code"' not in done.stdout
    assert [file.name for file in place.folder.iterdir() if file.name != "var"] == []


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_snippets_run_again_and_again(snippet: str, place: Place) -> None:
    for _ in range(2):
        done = run(python(snippet), place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.fixture
def refused(service: Service, tmp_path: Path) -> Place:
    """What the running service left, but for a token that nobody has."""
    for name in ("dev.json", "dev.env"):
        text = (service.var / name).read_text()
        (tmp_path / name).write_text(text.replace(service.token, "t1.nobody"))
    # The file itself would name the running service's folder.
    env = (tmp_path / "dev.env").read_text().replace(str(service.var), str(tmp_path))
    (tmp_path / "dev.env").write_text(env)
    return Place(tmp_path, {**os.environ, "BILLING_VAR": str(tmp_path)})


def test_snippets_tell_why_a_call_failed(refused: Place) -> None:
    for command in (*map(shell, snippets("bash")), *map(python, snippets("python"))):
        done = run(command, refused)
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert "CREDENTIALS_INVALID" in said
        assert "Traceback" not in said


def test_the_calls_that_are_printed_at_the_start_run_again_and_again(
    service: Service, place: Place
) -> None:
    printed = service.output.read_text()
    (invite,) = re.findall(
        r"^  (curl .*customers:invite.*?)\n\n", printed, re.MULTILINE | re.DOTALL
    )
    (stubs,) = re.findall(r"^  (\S+ - <<'END'\n.*?^  END)$", printed, re.MULTILINE | re.DOTALL)
    for call in (invite, textwrap.dedent(f"  {stubs}")):
        for _ in range(2):
            done = run(shell(call), place)
            assert done.returncode == 0, done.stderr
            assert "done" in done.stdout or "id" in done.stdout


def test_the_node_sdk_is_installed_as_it_is_tested() -> None:
    package = json.loads((ROOT / "tests/clients/nodejs_sdk/package.json").read_text())
    ((name, version),) = package["dependencies"].items()
    assert f"`npm install {name}@{version}`" in README


def test_every_method_and_path_is_listed() -> None:
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
                    if line not in README:
                        missing.append(f"{service.name}.{method.name}: {line}")
    assert missing == []


def test_every_setting_is_listed_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        (row,) = re.findall(
            rf"^\| `BILLING_{name.upper()}` \| (.*?) \| (.*?) \|$", README, re.MULTILINE
        )
        assert row == (f"`{field.default}`" if field.default != "" else "", field.description)


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("tests/clients/*/snippet.*")), ids=lambda file: file.parent.name
)
def test_clients_snippets_are_shown_as_they_are_tested(file: Path) -> None:
    assert f"```{file.suffix[1:]}\n{file.read_text()}```" in README
