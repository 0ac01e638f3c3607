"""What the README and docs/ show runs as it stands, again and again, from any folder."""

import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from server.config import Settings
from tests.docs.pages import PAGES, README, Snippet, command_folder, snippets
from tests.service import ROOT, Service

CLIENTS = ROOT / "tests" / "clients"


class Place(NamedTuple):
    """Where a snippet is run."""

    folder: Path
    env: dict[str, str]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return command_folder(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def places(service: Service, commands: Path, tmp_path: Path) -> list[Place]:
    """A checkout in which the service runs, and any other folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    clean |= {"PATH": f"{commands}:{clean['PATH']}", "HOME": str(tmp_path)}
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    checkout.mkdir()
    elsewhere.mkdir()
    (checkout / "var").symlink_to(service.var)
    return [Place(checkout, clean), Place(elsewhere, {**clean, "BILLING_VAR": str(service.var)})]


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


@pytest.mark.parametrize("snippet", snippets("bash", "python"), ids=str)
def test_snippets_run_twice_in_a_row_from_any_folder(snippet: Snippet, places: list[Place]) -> None:
    command = shell(snippet.text) if snippet.language == "bash" else python(snippet.text)
    for place in places:
        done = run(command, place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert not re.search(r'"(error|code)":', done.stdout), done.stdout
        assert [file.name for file in place.folder.iterdir() if file.name != "var"] == []


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
    first_calls = [each for each in snippets("bash", "python") if each.page == README]
    assert len(first_calls) == 2
    for snippet in first_calls:
        command = shell(snippet.text) if snippet.language == "bash" else python(snippet.text)
        done = run(command, refused)
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert "CREDENTIALS_INVALID" in said
        assert "Traceback" not in said


def test_the_calls_that_are_printed_at_the_start_run_again_and_again(
    service: Service, places: list[Place]
) -> None:
    printed = service.output.read_text()
    (invite,) = re.findall(
        r"^  (curl .*customers:invite.*?)\n\n", printed, re.MULTILINE | re.DOTALL
    )
    (stubs,) = re.findall(
        r"^  (PYTHONPATH=\S+ \S+ - <<'END'\n.*?^  END)$", printed, re.MULTILINE | re.DOTALL
    )
    for call in (invite, textwrap.dedent(f"  {stubs}")):
        for place in places:
            done = run(shell(call), place)
            assert done.returncode == 0, done.stderr
            assert "done" in done.stdout or "id" in done.stdout


@pytest.mark.parametrize("snippet", snippets("py", "js", "sh"), ids=str)
def test_clients_snippets_are_files_that_are_run(snippet: Snippet) -> None:
    if snippet.text.startswith("make "):
        targets = [line.split()[1] for line in snippet.text.splitlines()]
        done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0
        return
    files = [
        *CLIENTS.glob("*/snippet.*"),
        *CLIENTS.glob("*/receiver.*"),
        CLIENTS / "curl/add_webhook.sh",
        *(ROOT / "examples").glob("*/*nvitation*"),
        *(ROOT / "tests/storage/postgresql").glob("*.sh"),
    ]
    (file,) = [file for file in files if file.read_text() == snippet.text]
    if file.parent.parent.name == "examples":
        return  # run in tests/sandbox
    assert file.suffix == f".{snippet.language}"  # and run in tests/clients or tests/storage


@pytest.mark.parametrize("language", ["go", "java", "php"])
def test_examples_that_are_run_by_hand_are_shown(language: str) -> None:
    (file,) = (ROOT / "examples" / language).iterdir()
    assert file.read_text() in {snippet.text for snippet in snippets(language)}


def test_clients_snippets_are_shown() -> None:
    shown = {snippet.text for snippet in snippets("py", "js", "sh")}
    assert [file for file in CLIENTS.glob("*/snippet.*") if file.read_text() not in shown] == []


@pytest.mark.parametrize("snippet", snippets("ini"), ids=str)
def test_settings_that_are_shown_are_taken(
    snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.env"
    file.write_text(snippet.text)
    names = [line.split("=")[0] for line in snippet.text.splitlines()]
    fields = Settings(_env_file=file).model_fields_set
    assert {f"BILLING_{field.upper()}" for field in fields} >= set(names)


def test_every_block_of_code_says_what_it_is() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *(```.*)$", page.read_text(), re.MULTILINE)
        known = {
            f"```{each}"
            for each in (
                *("bash", "python", "py", "js", "sh", "sql", "ini", "json", "text", "yaml"),
                *("go", "java", "php"),  # not run here, as the page says
            )
        }
        assert set(fences[0::2]) <= known, page
        assert set(fences[1::2]) <= {"```"}, page
