"""The README tells the truth: its snippets run as they stand, its tables are complete."""

import re
import subprocess
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from server.config import Settings
from tests.service import ROOT, Service

README = (ROOT / "README.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(service: Service, tmp_path: Path) -> Path:
    """A folder that looks like a checkout in which the service runs."""
    (tmp_path / "var").symlink_to(service.var)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("snippet", snippets("bash"))
def test_shell_snippets_run(snippet: str, checkout: Path) -> None:
    output = run(["bash", "-euo", "pipefail", "-c", snippet], checkout)
    assert '"done":' in output.replace(" ", "")
    assert '"error"' not in output
    assert '"code"' not in output


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_snippets_run(snippet: str, checkout: Path) -> None:
    unique = snippet.replace("ostap@example.com", f"ostap-{checkout.name}@example.com")
    assert run([".venv/bin/python", "-c", unique], checkout).strip()


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
