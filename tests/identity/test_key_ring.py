import asyncio
import fcntl
import os
import shutil
import stat
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from server.composition.grpc_server import build_tokens
from server.config import Settings
from server.identity.key_ring import KeyRing, KeyRingError
from server.identity.tokens import Tokens
from tests.clock import Clock

_START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from server.identity.key_ring import KeyRing
print(KeyRing(Path(sys.argv[1]), lambda: datetime.now(UTC)).signing().id)
"""


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix == ".pem"}


def test_first_key_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys" / "iam"
    ring = KeyRing(folder, Clock())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.glob("*.pem")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ring.signing().id == file.stem
    assert KeyRing(folder, Clock()).signing().id == file.stem


async def test_processes_that_begin_at_once_make_one_key(tmp_path: Path) -> None:
    starts = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _START, str(tmp_path / "iam")), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    printed = {(await start.communicate())[0].decode().strip() for start in starts}
    assert len(printed) == 1
    assert names(tmp_path / "iam") == {f"{printed.pop()}.pem"}


def test_who_waits_for_another_to_make_the_first_key_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "iam", tmp_path / "elsewhere"
    KeyRing(elsewhere, Clock())
    (made,) = names(elsewhere)
    folder.mkdir()
    waits_or_has_ended = threading.Event()
    lock = fcntl.flock

    def lock_later(descriptor: int, operation: int) -> None:
        waits_or_has_ended.set()
        lock(descriptor, operation)

    def begin() -> None:
        try:
            KeyRing(folder, Clock())
        finally:
            waits_or_has_ended.set()

    with (folder / ".lock").open("w") as held:
        lock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", lock_later)
        late = threading.Thread(target=begin)
        late.start()
        assert waits_or_has_ended.wait(60)
        shutil.copy(elsewhere / made, folder / made)
    late.join(60)
    assert names(folder) == {made}


async def test_rotation_refuses_no_live_token(tmp_path: Path) -> None:
    clock = Clock()
    ring = KeyRing(tmp_path, clock)
    tokens = Tokens(ring)
    before, ends_at = tokens.issue("account", "key", clock())
    assert ends_at - clock() <= timedelta(hours=12)
    old, new = ring.signing(), ring.rotate()
    after, _ = tokens.issue("account", "key", clock())
    assert ring.signing().id == new.id != old.id
    clock.at = ends_at - timedelta(seconds=1)
    for token in (before, after):
        assert (await tokens.check(token, clock())).subject_id == "account"


def test_an_old_key_ends_after_the_last_token_it_signed(tmp_path: Path) -> None:
    clock = Clock()
    ring = KeyRing(tmp_path, clock)
    old, new = ring.signing().id, ring.rotate().id
    clock.at += timedelta(hours=13)
    assert ring.verifying(old) is None
    assert ring.verifying(new)
    third = ring.rotate().id
    assert names(tmp_path) == {f"{new}.pem", f"{third}.pem"}


def test_running_servers_notice_a_rotation(tmp_path: Path) -> None:
    clock = Clock()
    running = KeyRing(tmp_path, clock, look_every_s=0)
    idle = KeyRing(tmp_path, clock, look_every_s=3600)
    new = KeyRing(tmp_path, clock, make=False).rotate().id
    assert running.signing().id == new
    assert idle.verifying(new)


def test_after_a_leak_all_others_are_dropped(tmp_path: Path) -> None:
    clock = Clock()
    running = KeyRing(tmp_path, clock, look_every_s=0)
    leaked = running.signing().id
    new = KeyRing(tmp_path, clock, make=False).rotate(drop_old=True).id
    assert running.verifying(leaked) is None
    assert running.signing().id == new
    assert names(tmp_path) == {f"{new}.pem"}


def test_what_is_dropped_is_noticed_when_told(tmp_path: Path) -> None:
    running = KeyRing(tmp_path, Clock(), look_every_s=3600)
    leaked = running.signing().id
    new = KeyRing(tmp_path, Clock(), make=False).rotate(drop_old=True).id
    running.forget()
    assert running.verifying(leaked) is None
    assert running.signing().id == new


def test_a_ring_without_keys_neither_signs_nor_verifies(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, Clock(), look_every_s=0)
    gone = ring.signing().id
    for file in tmp_path.glob("*.pem"):
        file.unlink()
    assert ring.verifying(gone) is None
    with pytest.raises(KeyRingError, match="iam-keys rotate"):
        ring.signing()
    assert ring.all() == []
    assert ring.rotate().id == ring.signing().id


def test_unknown_keys_fill_no_log_with_a_bad_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(tmp_path, Clock(), look_every_s=3600)
    (tmp_path / "my-own.pem").write_bytes(b"no key")
    for number in range(100):
        assert ring.verifying(f"unknown-{number}") is None
    assert caplog.text.count("my-own.pem") == 1


def test_a_bad_file_keeps_no_dropped_key_in_use(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, Clock(), look_every_s=0)
    dropped = ring.signing().id
    (tmp_path / f"{dropped}.pem").unlink()
    (tmp_path / "my-own.pem").write_bytes(b"no key")
    assert ring.verifying(dropped) is None


def test_a_clock_set_back_does_not_revive_an_older_key(tmp_path: Path) -> None:
    clock = Clock()
    ring = KeyRing(tmp_path, clock)
    clock.at -= timedelta(days=1)
    new = ring.rotate()
    assert ring.signing().id == new.id
    assert [key.ends_at is None for key in ring.all()] == [False, True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("20300102T030405000000Z-0a0a0a0a.pem", b"no key"),
        ("20300102T030405000000Z-0a0a0a0a.pem", b""),
        ("my-own.pem", b"no key"),
    ],
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KeyRingError, match=name) as refused:
        KeyRing(tmp_path, Clock())
    assert "\n" not in str(refused.value)


def test_a_bad_file_beside_good_ones_stops_no_running_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(tmp_path, Clock(), look_every_s=0)
    good = ring.signing().id
    (tmp_path / "my-own.pem").write_bytes(b"no key")
    assert ring.signing().id == good
    assert "my-own.pem" in caplog.text


def test_a_key_is_not_seen_before_it_is_whole_nor_ever_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(tmp_path, Clock())
    before = set(tmp_path.glob("*.pem"))
    seen = []
    write_to_disk = os.fsync

    def look(descriptor: int) -> None:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        seen.append((mode, set(tmp_path.glob("*.pem")) - before))
        write_to_disk(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    ring.rotate()
    assert seen == [(0o600, set())]


def test_a_key_that_others_can_read_is_closed(tmp_path: Path) -> None:
    KeyRing(tmp_path, Clock())
    (file,) = tmp_path.glob("*.pem")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    KeyRing(tmp_path, Clock(), make=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_the_folder_of_all_keys_is_closed_too(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    keys.chmod(0o755)
    build_tokens(Settings(var=tmp_path))
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(KeyRingError, match="keys/iam"):
        KeyRing(tmp_path / "keys" / "iam", Clock())
