"""`backup` while servers write, and `restore`."""

import json
import socket
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from server.config import SettingsError
from server.storage.backup import UnusableCopyError, require_sound
from server.storage.check import check
from server.storage.schema.tables import REVISION
from tests.admin.conftest import Command
from tests.storage.databases import query
from tests.storage.old_schemas import REVISIONS, upgrade


@pytest.fixture
def keys(var: Path, command: Command) -> Path:
    """The folder of the keys that sign, with two of them."""
    folder = var / "keys" / "iam"
    for _ in range(2):
        command("iam-keys", "rotate")
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.glob("*.pem")}


def test_all_comes_back(
    var: Path,
    keys: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    file = tmp_path / "billing.backup"
    said = command("backup", str(file)).output
    assert "2 keys" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    command("resellers", "add", "Later", "--id", "later")
    new = tmp_path / "new"
    monkeypatch.setenv("BILLING_VAR", str(new))
    assert "with 2 keys" in command("restore", str(file)).output
    assert query(f"sqlite:///{new}/billing.db", "SELECT id FROM resellers") == [("horns",)]
    assert _contents(new / "keys" / "iam") == _contents(keys)
    for path in new.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert "0 of" in command("check").output
    assert not list(new.glob(".restore-*"))


def test_a_backup_is_of_one_moment_while_others_write(
    var: Path, command: Command, tmp_path: Path
) -> None:
    """A pair of rows is written in each transaction; no copy has one without the other."""
    stop = threading.Event()
    begun = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(var / "billing.db", timeout=30, isolation_level=None)) as db:
            db.execute("CREATE TABLE pairs (n INTEGER PRIMARY KEY, half TEXT, filler TEXT)")
            while not stop.is_set():
                db.execute("BEGIN IMMEDIATE")
                for half in "ab":
                    db.execute("INSERT INTO pairs (half, filler) VALUES (?, ?)", (half, "x" * 9000))
                db.execute("COMMIT")
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        for number in range(3):
            command("backup", str(tmp_path / f"{number}.backup"))
    finally:
        stop.set()
        writer.join(30)
    for number in range(3):
        with tarfile.open(tmp_path / f"{number}.backup") as tar:
            tar.extractall(tmp_path / str(number), filter="data")
        counts = query(
            f"sqlite:///{tmp_path}/{number}/billing.db",
            "SELECT count(*) FROM pairs GROUP BY half ORDER BY half",
        )
        assert len(counts) == 2
        assert counts[0] == counts[1]


def refused(command: Command, *words: str) -> str:
    error = command(*words, code=1).exception
    assert isinstance(error, SettingsError)
    return str(error)


def test_nothing_is_replaced(var: Path, keys: Path, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "billing.backup"
    command("backup", str(file))
    content = file.read_bytes()
    assert "exists already" in refused(command, "backup", str(file))
    assert file.read_bytes() == content
    before = (var / "billing.db").read_bytes()
    assert "there is a database at" in refused(command, "restore", str(file))
    assert (var / "billing.db").read_bytes() == before
    (var / "billing.db").rename(tmp_path / "old.db")
    (key, *_) = keys.glob("*.pem")
    key.write_bytes(b"another")
    assert "is another key" in refused(command, "restore", str(file))
    assert not (var / "billing.db").exists()


@pytest.mark.parametrize(
    "harm", ["cut", "changed", "other file", "link out", "extra", "no time", "no number", "nested"]
)
def test_a_damaged_backup_changes_nothing(
    var: Path, keys: Path, command: Command, tmp_path: Path, harm: str
) -> None:
    file = tmp_path / "billing.backup"
    command("backup", str(file))
    (var / "billing.db").unlink()
    content = bytearray(file.read_bytes())
    match harm:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "changed":
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "other file":
            file.write_bytes(b"SQLite format 3\0" * 100)
        case "no time" | "no number" | "nested":
            with tarfile.open(file) as tar:
                tar.extractall(tmp_path / "parts", filter="data")
            manifest = tmp_path / "parts" / "manifest.json"
            if harm == "nested":
                manifest.write_text("[" * 100_000)
            else:
                wrong = {"no time": {"made": 7}, "no number": {"format": "1"}}[harm]
                manifest.write_text(json.dumps(json.loads(manifest.read_text()) | wrong))
            with tarfile.open(file, "w") as tar:
                for name in ("manifest.json", "billing.db", "keys"):
                    tar.add(tmp_path / "parts" / name, name)
        case _:
            with tarfile.open(file, "a") as tar:
                entry = tarfile.TarInfo("keys/../../evil.pem" if harm == "extra" else "keys/a.pem")
                if harm == "link out":
                    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(entry)
    assert "is no whole backup" in refused(command, "restore", str(file))
    assert not (var / "billing.db").exists()
    assert not (tmp_path / "evil.pem").exists()


def test_nothing_is_restored_under_running_processes(
    var: Path, keys: Path, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "billing.backup"
    command("backup", str(file))
    (var / "billing.db").unlink()
    signals = var / "billing.db-signals"
    signals.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as running:
        running.bind(str(signals / "0123abcd"))
        assert "still run: stop them first" in refused(command, "restore", str(file))
        assert not (var / "billing.db").exists()
    assert (signals / "0123abcd").exists()  # as of a process that was killed
    command("restore", str(file))


def test_an_unsound_database_is_not_backed_up(var: Path, command: Command, tmp_path: Path) -> None:
    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    query(
        f"sqlite:///{var}/billing.db",
        "INSERT INTO event_logs VALUES (1, 5, 0, NULL) ON CONFLICT DO UPDATE SET last = 999",
    )
    assert "breaks an invariant" in refused(command, "backup", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    assert [each for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_an_older_schema_is_backed_up_before_it_is_migrated(
    var: Path, command: Command, tmp_path: Path
) -> None:
    url = f"sqlite:///{var}/billing.db"
    query(url, "UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in refused(command, "backup", str(tmp_path / "new.backup"))
    (var / "billing.db").unlink()
    upgrade(url, "0017")
    file = tmp_path / "old.backup"
    assert "schema 0017" in command("backup", str(file)).output
    (var / "billing.db").unlink()
    assert "schema 0017" in command("restore", str(file)).output
    command("migrate")
    assert "0 of" in command("check").output


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0001", f"at version 0001, but it has all of {REVISION}"),
        (REVISIONS[-2], f"at version {REVISIONS[-2]}, but it has all of {REVISION}"),
        ("0000", f"0001 to {REVISION}, and the database says 0000"),
    ],
)
def test_a_false_version_is_neither_backed_up_nor_restored(
    var: Path, command: Command, tmp_path: Path, version: str, told: str
) -> None:
    url = f"sqlite:///{var}/billing.db"
    query(url, "UPDATE alembic_version SET version_num = :version", version=version)
    file = tmp_path / "billing.backup"
    assert told in refused(command, "backup", str(file))
    assert not file.exists()
    with pytest.MonkeyPatch.context() as earlier:  # a release that did not look
        earlier.setattr("server.storage.backup.require_older", lambda *_, **__: None)
        command("backup", str(file))
    (var / "billing.db").unlink()
    assert told in refused(command, "restore", str(file))
    assert not (var / "billing.db").exists()


def test_what_lacks_a_column_is_not_restored(var: Path, command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{var}/billing.db"
    query(url, "ALTER TABLE operations DROP COLUMN origin")
    query(url, "UPDATE alembic_version SET version_num = '0001'")
    file = tmp_path / "billing.backup"
    command("backup", str(file))
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path / "parts", filter="data")
    copy = tmp_path / "parts" / "billing.db"
    query(f"sqlite:///{copy}", f"UPDATE alembic_version SET version_num = '{REVISION}'")
    with pytest.raises(UnusableCopyError, match=r"lacks operations\.origin"):
        require_sound(copy)


def test_restoring_an_older_one_is_meant(
    var: Path, keys: Path, command: Command, tmp_path: Path
) -> None:
    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    file = tmp_path / "billing.backup"
    command("backup", str(file))
    with tarfile.open(file) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest
        assert json.load(manifest)["schema"] == REVISION
    (var / "billing.db-seen").write_text("1000000\n")
    for each in var.glob("billing.db*"):
        if each.is_file() and not each.name.endswith("-seen"):
            each.unlink()
    command("restore", str(file))
    assert not [each for each in check(f"sqlite:///{var}/billing.db") if each.count]


def test_postgresql_has_tools_of_its_own(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_DATABASE_URL", "postgresql://billing:hunter2@127.0.0.1:1/billing")
    file = tmp_path / "file"
    file.touch()
    for words in (("backup", str(tmp_path / "x")), ("restore", str(file))):
        said = refused(command, *words)
        assert "docs/operators/backups.md" in said
        assert "hunter2" not in said
