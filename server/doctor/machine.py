"""Clock, disk and file modes of this machine."""

import ctypes
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from server.doctor.finding import Finding, ok, problem, warning

# What two clocks may differ by; tokens and links hold to the second.
_CLOCK_OFF = timedelta(seconds=2)
_STA_UNSYNC = 0x0040
_TIMEX_BYTES = 208
_STATUS_OFFSET = 40  # of `status` in struct timex on 64-bit Linux

_FULL_BYTES = 256 << 20
_LOW_BYTES = 2 << 30
_LOW_SHARE = 0.05
_MOST_NAMED = 5


def examine_clock(
    now: datetime, database_now: datetime | None, latest: datetime | None
) -> Iterator[Finding]:
    """Yields how this machine's clock stands to the database's and to what is recorded there."""
    if database_now is not None:
        off = now - database_now
        text = f"{abs(off.total_seconds()):.1f} s {'ahead of' if off > timedelta() else 'behind'} the database's"
        if abs(off) > _CLOCK_OFF:
            yield problem("clock", text, "have both machines follow the same time servers (NTP)")
        else:
            yield ok("clock", text)
    if latest is not None and latest - now > _CLOCK_OFF:
        yield problem(
            "clock",
            f"the database has records of {(latest - now).total_seconds():.0f} s later than now",
            "set this machine's clock by a time server (NTP): it is behind, or was ahead",
        )
    if not _is_synchronised():
        yield warning(
            "clock",
            "the kernel does not know of a time server",
            "run chrony or systemd-timesyncd, unless the machine's host keeps its time",
        )
    elif database_now is None:
        yield ok("clock", "kept by a time server")


def _is_synchronised() -> bool:
    """Asks Linux; true where it can't be asked."""
    try:
        answer = ctypes.create_string_buffer(_TIMEX_BYTES)
        if ctypes.CDLL(None, use_errno=True).adjtimex(answer) < 0:
            return True
    except (OSError, AttributeError):
        return True
    status = int.from_bytes(answer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little")
    return not status & _STA_UNSYNC


def examine_disk(folders: Iterable[Path]) -> Iterator[Finding]:
    """Yields how much room there is where the service writes; once for each file system."""
    seen = set()
    for folder in folders:
        try:
            device = folder.stat().st_dev
            usage, inodes = shutil.disk_usage(folder), os.statvfs(folder)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        text = f"{usage.free / (1 << 30):.1f} GiB free at {folder}"
        advice = "make room: delete what is not needed, or move BILLING_VAR to a larger disk"
        if usage.free < _FULL_BYTES or (inodes.f_files and inodes.f_favail == 0):
            yield problem("disk", text, advice)
        elif usage.free < _LOW_BYTES or usage.free < _LOW_SHARE * usage.total:
            yield warning("disk", text, advice)
        else:
            yield ok("disk", text)
        if not os.access(folder, os.W_OK):
            yield problem("disk", f"{folder} can't be written to", f"chown it to {_user()}")


def examine_modes(folders: Iterable[Path], files: Iterable[Path]) -> Iterator[Finding]:
    """Yields which of the folders, what is in them, and the files others may use, or belong to others."""
    paths = [path for folder in folders for path in _within(folder)]
    looked_at, open_, foreign = 0, [], []
    for path in dict.fromkeys([*paths, *files]):
        try:
            found = path.lstat()
        except OSError:
            continue
        looked_at += 1
        if stat.S_ISLNK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            continue
        if found.st_mode & 0o077:
            open_.append(path)
        if found.st_uid != os.geteuid():
            foreign.append(path)
    if open_:
        yield problem(
            "file modes",
            f"others may use {_named(open_)}",
            f"chmod go= {_named(open_)}, and change keys that others may have read",
        )
    if foreign:
        yield warning(
            "file modes",
            f"another user owns {_named(foreign)}",
            f"run this as the service's user, or chown them to {_user()}",
        )
    if not open_ and not foreign:
        yield ok("file modes", f"{looked_at} files and folders are {_user()}'s alone")


def _within(folder: Path) -> Iterator[Path]:
    yield folder
    for path, folders, files in os.walk(folder):
        yield from (Path(path, name) for name in (*folders, *files))


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return " ".join(map(str, paths[:_MOST_NAMED])) + more


def _user() -> str:
    return f"user {os.geteuid()}"
