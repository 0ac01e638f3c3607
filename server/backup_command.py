"""`backup` and `restore`: one file with the database and the keys that sign tokens."""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from files.private import make_private_folder, open_private, replace_private, sync
from server import version
from server.config import Settings, SettingsError
from server.database_commands import database_errors
from server.storage.backup import (
    UnusableCopyError,
    copy_database,
    put_database,
    require_sound,
    sqlite_file,
)
from server.storage.notify.sockets import is_in_use

_FORMAT = 1
_MANIFEST = "manifest.json"
_DATABASE = "billing.db"
_KEY = re.compile(r"keys/[A-Za-z0-9._-]+")
_MOST_MANIFEST_BYTES = 10 << 20
_CHUNK = 1 << 20


def backup(
    settings: Settings,
    file: Path,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Writes database and keys to a new file, its owner's alone, while servers run; says what is in it.

    The file appears once it is whole, checked and on disk. Raises SettingsError.
    """
    file = file.absolute()
    if file.exists():
        raise SettingsError(f"{file} exists already: name another file, or move it away")
    with _errors(file), tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder:
        copy = Path(folder) / _DATABASE
        with database_errors():
            try:
                schema = copy_database(settings.database, copy, progress)
            except UnusableCopyError as error:
                raise SettingsError(f"no backup was made: {error}") from None
        keys = _keys(settings.iam_keys)
        contents: dict[str, Path] = {_DATABASE: copy, **keys}
        manifest = {
            "format": _FORMAT,
            "made": now.isoformat(),
            "release": version.current(),
            "schema": schema,
            "sha256": {name: _digest(path.open("rb")) for name, path in contents.items()},
        }
        archive = Path(folder) / "archive"
        with open_private(archive, "xb") as out:
            with tarfile.open(fileobj=out, mode="w") as tar:
                text = json.dumps(manifest, indent=2).encode()
                _add(tar, _MANIFEST, len(text), io.BytesIO(text), now)
                for name, path in contents.items():
                    with path.open("rb") as content:
                        _add(tar, name, path.stat().st_size, content, now)
            out.flush()
            os.fsync(out.fileno())
        _read(archive, None)
        os.link(archive, file)  # replaces nothing that has come meanwhile
        sync(file.parent)
        size = file.stat().st_size
    return f"{file}: {size:,} bytes, database of schema {schema}, {len(keys)} keys"


def restore(settings: Settings, file: Path) -> str:
    """Puts database and keys of a backup where there are none; says what to do next.

    Changes nothing unless all of the backup is whole and fits. Raises SettingsError.
    """
    with _errors(file), database_errors():
        target = sqlite_file(settings.database)
        make_private_folder(settings.var)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for each in (target, target.with_name(f"{target.name}-wal")):
            if each.exists():
                raise SettingsError(
                    f"there is a database at {each}: stop all servers and workers, and move it away "
                    f"with what is beside it ({target.name}-…)"
                )
        if is_in_use(target):
            raise SettingsError(
                f"servers or workers that had {target} open still run: stop them first"
            )
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".restore-") as folder:
            manifest = _read(file, Path(folder))
            try:
                schema = require_sound(Path(folder) / _DATABASE)
            except UnusableCopyError as error:
                raise SettingsError(f"{file}: {error}") from None
            keys = sorted((Path(folder) / "keys").glob("*"))
            missing = _missing(keys, settings.iam_keys)
            make_private_folder(settings.iam_keys.parent)
            make_private_folder(settings.iam_keys)
            for key in missing:
                replace_private(settings.iam_keys / key.name, key.read_bytes())
                sync(settings.iam_keys / key.name)
            sync(settings.iam_keys)
            # Last: servers make keys of their own where there is a database without.
            put_database(settings.database, Path(folder) / _DATABASE)
    return (
        f"{target} is as of {manifest['made']}, schema {schema}, with {len(missing)} keys put beside "
        "those that were there; run `migrate` if this release is newer, then start the servers"
    )


def _missing(keys: list[Path], folder: Path) -> list[Path]:
    """Returns the keys that are not there yet; raises SettingsError for one that is another."""
    for key in keys:
        there = folder / key.name
        if there.exists() and there.read_bytes() != key.read_bytes():
            raise SettingsError(f"{there} is another key than the backup's: move it away")
    return [key for key in keys if not (folder / key.name).exists()]


def _keys(folder: Path) -> dict[str, Path]:
    if not folder.exists():
        return {}
    files = sorted(each for each in folder.iterdir() if each.is_file() and each.suffix == ".pem")
    return {f"keys/{each.name}": each for each in files}


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes], now: datetime) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(now.timestamp())
    tar.addfile(entry, content)


def _read(archive: Path, folder: Path | None) -> dict[str, Any]:
    """Reads a backup to its end, into a folder if one is given; returns its manifest.

    Raises SettingsError unless it is whole and holds what its manifest says, and nothing else.
    """
    problem = SettingsError(f"{archive} is no whole backup of this service: use another copy of it")
    try:
        with tarfile.open(archive, mode="r:") as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST or first.size > _MOST_MANIFEST_BYTES:
                raise problem
            content = tar.extractfile(first)
            manifest: dict[str, Any] = json.loads(content.read() if content else b"")
            if not isinstance(manifest["made"], str) or not isinstance(manifest["format"], int):
                raise problem
            if manifest["format"] != _FORMAT:
                raise SettingsError(f"{archive} was made by a newer release: restore it with that")
            found = {}
            while entry := tar.next():
                known = entry.name == _DATABASE or _KEY.fullmatch(entry.name)
                content = tar.extractfile(entry) if known and entry.isreg() else None
                if content is None or entry.name in found:
                    raise problem
                found[entry.name] = _digest(content, folder / entry.name if folder else None)
            if found != manifest["sha256"] or _DATABASE not in found:
                raise problem
            return manifest
    except (tarfile.TarError, EOFError, LookupError, ValueError, TypeError, RecursionError):
        raise problem from None


def _digest(content: IO[bytes], target: Path | None = None) -> str:
    """Returns the hash of what is read, and writes it to a new file if one is given."""
    digest = hashlib.sha256()
    if target:
        target.parent.mkdir(exist_ok=True, mode=0o700)
    with content, open_private(target, "xb") if target else io.BytesIO() as out:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            if target:
                out.write(chunk)
    return digest.hexdigest()


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{error.filename or file}: {error.strerror or error}") from None
