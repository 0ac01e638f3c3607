"""Files are their owner's alone, whatever the umask and whatever they were before."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from files.private import (
    close_folder,
    close_to_others,
    make_private_folder,
    open_private,
    replace_private,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True, params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_new_files_and_folders_are_their_owners_alone(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700
    open_private(tmp_path / "log", "ab").close()
    replace_private(tmp_path / "key", b"secret")
    assert (mode(tmp_path / "log"), mode(tmp_path / "key")) == (0o600, 0o600)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "log", "key"}


def test_files_and_folders_that_exist_are_closed(tmp_path: Path) -> None:
    folder, file = tmp_path / "a", tmp_path / "a" / "log"
    folder.mkdir()
    file.write_text("before\n")
    for path, wide in ((folder, 0o777), (file, 0o666)):
        path.chmod(wide)
    make_private_folder(folder)
    assert (mode(folder), mode(file)) == (0o700, 0o666)
    with open_private(file, "ab") as log:
        log.write(b"after\n")
    assert mode(file) == 0o600
    assert file.read_text() == "before\nafter\n"
    file.chmod(0o644)
    replace_private(file, b"new")
    assert mode(file) == 0o600


def test_all_that_is_in_a_folder_is_closed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("")
    (inner / "link").symlink_to(outside)
    (inner / "folder").symlink_to(tmp_path)
    for path in (outside, inner / "file", inner, tmp_path / "a"):
        path.chmod(0o755)
    make_private_folder(tmp_path / "a", with_contents=True)
    assert mode(inner / "file") == 0o700
    assert (mode(inner), mode(tmp_path / "a")) == (0o700, 0o700)
    assert mode(outside) == 0o755


def test_a_folder_that_all_use_is_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o1777
    tmp_path.chmod(0o700)
    root = mode(Path("/"))
    close_to_others(Path("/"))
    assert mode(Path("/")) == root


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    close_to_others(tmp_path / "none")
    close_folder(tmp_path / "none")
    assert not (tmp_path / "none").exists()
