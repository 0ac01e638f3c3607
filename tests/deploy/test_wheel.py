"""The wheel holds all that the commands need, and nothing that other packages could stumble over."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.wheel import built_wheel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, as an environment would hold them."""
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def run(installed: Path, *command: str, program: str = "server") -> str:
    """Runs `billing-server` from the wheel's files, in a folder where there is nothing else."""
    code = f"import billing_service; billing_service.{program}()"
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed), "BILLING_VAR": "var"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_takes_one_name_in_an_environment(installed: Path) -> None:
    names = {each.name for each in installed.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"billing_service"}


def test_the_command_tells_its_release_and_its_settings(installed: Path) -> None:
    assert run(installed, "--version").split()[0] == "billing-server"
    assert "BILLING_HTTP_PORT" in run(installed, "settings")


def test_the_command_line_of_callers_explains_itself(installed: Path) -> None:
    assert run(installed, "--version", program="client").split()[0] == "billing"
    assert "Example" in run(installed, "customers", "import", "--help", program="client")


def test_what_runs_is_what_was_installed(installed: Path) -> None:
    code = (
        "import billing_service; billing_service._add_import_roots(); import server, gateway, "
        "yandex.cloud.billing.v1 as stubs; print(server.__path__, gateway.__file__, stubs.__path__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count(str(installed)) == 3, done.stdout


def test_the_licence_and_every_file_of_the_stubs_come_along(installed: Path) -> None:
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    ours = {each.relative_to(ROOT) for each in (ROOT / "gen").rglob("*.p*") if each.is_file()}
    ours = {each for each in ours if "__pycache__" not in each.parts}
    assert all((installed / "billing_service" / each).is_file() for each in ours)


def test_the_image_is_built_from_all_that_the_wheel_is_made_of() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    taken = (ROOT / "deploy/image/Dockerfile.dockerignore").read_text().splitlines()
    for source in built["targets"]["wheel"]["force-include"]:
        assert any(source.startswith(line.removeprefix("!")) for line in taken if line[:1] == "!")
