import os
import socket
import stat
from pathlib import Path

from files.sockets import LONGEST, fits, is_served, socket_folder


def test_a_short_path_is_its_own(tmp_path: Path) -> None:
    with socket_folder(tmp_path) as folder:
        assert folder == tmp_path


def test_a_long_path_has_a_short_one_of_its_owner_alone(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    assert not fits(long / "admin.sock")
    with socket_folder(long) as folder, socket.socket(socket.AF_UNIX) as listener:
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        listener.bind(str(folder / ("n" * 20)))
        listener.listen()
        assert is_served(folder / ("n" * 20))
        assert [path.name for path in long.iterdir()] == ["n" * 20]
    assert not os.path.lexists(folder)
    assert not folder.parent.exists()
    assert long.exists()


def test_the_longest_path_that_fits(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (LONGEST - len(str(tmp_path)) - 1))
    assert fits(path)
    assert not fits(path.with_name(path.name + "x"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not is_served(path)  # bound, and nobody listens
        listener.listen()
        assert is_served(path)
    assert not is_served(path)  # left behind
    assert not is_served(tmp_path / "none")
