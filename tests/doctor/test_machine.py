"""What is said of certificates, clocks, disks and file modes, and by the command as a whole."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from click.testing import CliRunner, Result

from server.commands import cli
from server.doctor.certificates import examine_certificate
from server.doctor.finding import Finding, Level
from server.doctor.machine import examine_clock, examine_disk, examine_modes
from server.storage import migrate
from tests.storage.databases import query

NOW = datetime.now(UTC)


def levels(findings: list[Finding]) -> list[Level]:
    assert all(bool(each.advice) is (each.level is not Level.OK) for each in findings)
    return [each.level for each in findings]


class TestCertificates:
    def made(self, folder: Path, ends: datetime) -> tuple[Path, Path]:
        issued = trustme.CA().issue_cert("billing.example.org", not_after=ends)
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(issued.cert_chain_pems[0].bytes())
        key.write_bytes(issued.private_key_pem.bytes())
        return chain, key

    @pytest.mark.parametrize(
        ("days", "level"), [(60, Level.OK), (13, Level.WARNING), (-1, Level.PROBLEM)]
    )
    def test_a_certificate_is_judged_by_the_days_it_has_left(
        self, tmp_path: Path, days: int, level: Level
    ) -> None:
        files = self.made(tmp_path, NOW + timedelta(days=days))
        assert levels(list(examine_certificate(*files, NOW))) == [level]

    def test_a_certificate_that_is_not_yet_valid_is_told(self, tmp_path: Path) -> None:
        files = self.made(tmp_path, NOW + timedelta(days=60))
        (finding,) = examine_certificate(*files, NOW - timedelta(days=365 * 30))
        assert "begins at" in finding.text

    def test_files_that_are_no_certificate_and_its_key_are_problems(self, tmp_path: Path) -> None:
        chain, key = self.made(tmp_path, NOW + timedelta(days=60))
        (tmp_path / "other").mkdir()
        _, other = self.made(tmp_path / "other", NOW + timedelta(days=60))
        for certificate, private_key, text in (
            (chain, other, "is not the key of"),
            (chain, chain, "is no private key"),
            (key, key, "holds no certificate"),
            (tmp_path / "none", key, "can't be read"),
            (chain, tmp_path / "none", "can't be read"),
        ):
            *_, finding = examine_certificate(certificate, private_key, NOW)
            assert finding.level is Level.PROBLEM
            assert text in finding.text


class TestClock:
    @pytest.mark.parametrize(
        ("database_s", "level"), [(1, Level.OK), (-1, Level.OK), (3, Level.PROBLEM)]
    )
    def test_a_clock_that_differs_from_the_databases_is_a_problem(
        self, database_s: int, level: Level
    ) -> None:
        first, *_ = examine_clock(NOW, NOW + timedelta(seconds=database_s), None)
        assert first.level is level

    def test_a_clock_behind_the_latest_record_is_a_problem(self) -> None:
        first, *_ = examine_clock(NOW, None, NOW + timedelta(hours=1))
        assert first.level is Level.PROBLEM
        assert "3600 s later" in first.text


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free_mib", "level"),
    [(100_000, Level.OK), (1000, Level.WARNING), (100, Level.PROBLEM)],
)
def test_a_disk_is_judged_by_the_room_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: _Usage(1 << 38, 0, free_mib << 20))
    assert levels(list(examine_disk([tmp_path, tmp_path / "none", tmp_path]))) == [level]


def test_files_that_others_can_read_are_problems(tmp_path: Path) -> None:
    inside, outside = tmp_path / "var", tmp_path / "key.pem"
    inside.mkdir(mode=0o700)
    (inside / "link").symlink_to(tmp_path / "nowhere")
    secret = inside / "billing.db"
    for file in (secret, outside):
        file.touch(0o600)
    assert levels(list(examine_modes([inside], [outside, tmp_path / "none"]))) == [Level.OK]
    secret.chmod(0o640)
    outside.chmod(0o604)
    (finding,) = examine_modes([inside], [outside])
    assert finding.level is Level.PROBLEM
    assert f"chmod go= {secret} {outside}" in finding.advice


Doctor = Callable[..., Result]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the command on a folder with a database."""
    var = tmp_path / "var"
    var.mkdir(mode=0o700)
    monkeypatch.setenv("BILLING_VAR", str(var))
    old = os.umask(0o077)
    migrate(f"sqlite:///{var}/billing.db")
    os.umask(old)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["doctor", *words])

    return run


def test_the_command_finds_no_problem_where_all_is_well(doctor: Doctor) -> None:
    result = doctor("--dev")
    assert result.exit_code == 0, result.output
    assert "ok       schema: it is this release's" in result.output
    assert result.output.endswith("0 problems\n")


def test_the_command_names_each_problem(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(f"sqlite:///{tmp_path}/var/billing.db", "UPDATE alembic_version SET version_num = '0001'")
    monkeypatch.setenv("BILLING_ADDRESS", "192.0.2.1")
    result = doctor()
    assert result.exit_code == 1
    problems = [line for line in result.output.splitlines() if line.startswith("problem")]
    assert [line.split()[1] for line in problems] == ["settings:", "database:", "certificate:"]
    assert "billing-server migrate" in result.output


def test_the_command_tells_wrong_settings(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_SMTP_PROT", "25")
    result = doctor()
    assert result.exit_code == 1
    assert "BILLING_SMTP_PORT was probably meant" in result.output


def test_a_url_without_a_file_has_nothing_looked_at(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("BILLING_DATABASE_URL", "sqlite://")
    result = doctor("--dev")
    assert "database: BILLING_DATABASE_URL: a SQLite database needs a file" in result.output
    assert "1 problem\n" in result.output


def test_a_database_that_others_could_read_is_told(doctor: Doctor, tmp_path: Path) -> None:
    database = tmp_path / "var" / "billing.db"
    database.chmod(0o644)
    result = doctor("--dev")
    assert f"others may use {database}" in result.output
