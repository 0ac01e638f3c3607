"""The keys that sign our tokens: files in one folder, shared by all server processes."""

import fcntl
import hashlib
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from files.private import close_folder, close_to_others, make_private_folder
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

LONGEST_LIFE = timedelta(hours=12)
# How long another process may still sign with a key after a newer one was made, and more.
_SLACK = timedelta(minutes=10)
# A key's ID is when it was made and a random part, so that names sort by age.
_AT = "%Y%m%dT%H%M%S%fZ"
_SUFFIX = ".pem"


class KeyRingError(Exception):
    """The keys can't be used; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key pair. It signs until a newer one is made, and verifies until `ends_at` (None: no end)."""

    id: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    made_at: datetime
    ends_at: datetime | None


class KeyRing:
    """The newest key signs; older ones verify until the last token they signed has expired.

    With `make`, makes the folder and the first key where there is none, however many processes begin
    at once. Files that come and go are noticed within `look_every_s`, or at once after `forget` and for
    an unknown key. With all files gone nothing is signed or verified. Raises KeyRingError.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], datetime],
        *,
        make: bool = True,
        look_every_s: float = 1.0,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._look_every_s = look_every_s
        self._looked_at = -math.inf
        self._failing = False
        self._failures = FailureLog(_log)
        self._names: list[str] = []
        self._keys: dict[str, RingKey] = {}
        close_folder(folder)
        if not self._look() and make:
            with self._locked():
                if not self._look():
                    self._make()
                    self._look()

    def signing(self) -> RingKey:
        """Returns the key to sign with; raises KeyRingError where there is none any more."""
        self._look_again()
        if not self._names:
            raise KeyRingError(
                f"no key is left in {self._folder}: `billing-server iam-keys rotate` makes one"
            )
        return self._keys[self._names[-1]]

    def verifying(self, key_id: str) -> Ed25519PublicKey | None:
        """Returns the public key with this ID, or None if it does not verify any more."""
        self._look_again(at_once=key_id not in self._keys)
        key = self._keys.get(key_id)
        if key is None or (key.ends_at and key.ends_at <= self._clock()):
            return None
        return key.public

    def secrets(self, purpose: bytes, *, at_once: bool = False) -> list[bytes]:
        """Returns secrets for a purpose of at most 16 bytes, one of each key that has not ended.

        The newest key's is the first. All processes that share the folder have the same.
        """
        self._look_again(at_once=at_once)
        now = self._clock()
        keys = [self._keys[name] for name in reversed(self._names)]
        return [
            hashlib.blake2b(
                key.private.private_bytes_raw(), person=purpose, digest_size=32
            ).digest()
            for key in keys
            if key.ends_at is None or key.ends_at > now
        ]

    def forget(self) -> None:
        """Has the next who asks for a key look at the files."""
        self._looked_at = -math.inf

    def all(self) -> list[RingKey]:
        """Returns the keys, oldest first, those that have ended too."""
        self._look()
        return [self._keys[name] for name in self._names]

    def rotate(self, *, drop_old: bool = False) -> RingKey:
        """Makes a new key, and removes those that have ended or, with `drop_old`, all others."""
        with self._locked():
            made = self._make()
            self._look()
            now = self._clock()
            for key in self.all():
                if key.id != made and (drop_old or (key.ends_at and key.ends_at <= now)):
                    self._file(key.id).unlink(missing_ok=True)
            self._look()
        return self._keys[made]

    def _look_again(self, *, at_once: bool = False) -> None:
        # While files can't be read, unknown keys don't cause a reading, and a log line, at each call.
        at_once = at_once and not self._failing
        if not at_once and time.monotonic() - self._looked_at < self._look_every_s:
            return
        try:
            self._look()
            self._failing = False
        except KeyRingError as error:
            # Those that are still there go on being used.
            self._failures.tell(str(error), level=logging.ERROR)
            self._failing = True

    def _look(self) -> bool:
        """Reads the folder; tells whether it holds a key."""
        self._looked_at = time.monotonic()
        try:
            names = sorted(
                file.stem
                for file in self._folder.iterdir()
                if file.suffix == _SUFFIX and not file.name.startswith(".")
            )
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise KeyRingError(f"can't read the folder {self._folder}: {error.strerror}") from None
        if names != self._names:
            # What is gone holds no longer, even where what came can't be read.
            self._names = [name for name in self._names if name in names]
            self._keys = {name: self._keys[name] for name in self._names}
            self._keys = self._load(names)
            self._names = names
        return bool(names)

    def _load(self, names: list[str]) -> dict[str, RingKey]:
        times = [_made_at(self._file(name)) for name in names]
        keys = {}
        for index, name in enumerate(names):
            newer = times[index + 1] if index + 1 < len(names) else None
            known = self._keys.get(name)
            private = known.private if known else _read(self._file(name))
            ends_at = newer + LONGEST_LIFE + _SLACK if newer else None
            keys[name] = RingKey(name, private, private.public_key(), times[index], ends_at)
        return keys

    def _make(self) -> str:
        """Writes a new key whole or not at all, and returns its ID."""
        newest = self._names[-1] if self._names else ""
        # Later than the newest by name, even if the clock was set back.
        at = self._clock()
        if newest:
            at = max(at, _made_at(self._file(newest)) + timedelta(microseconds=1))
        name = f"{at.strftime(_AT)}-{secrets.token_hex(4)}"
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        temporary = self._folder / f".{name}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(pem)
                out.flush()
                os.fsync(descriptor)
            temporary.rename(self._file(name))
        except OSError as error:
            raise KeyRingError(f"can't write to {self._folder}: {error.strerror}") from None
        return name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from making keys; makes the folder if needed."""
        try:
            make_private_folder(self._folder)
            descriptor = os.open(self._folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyRingError(f"can't write to {self._folder}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        return self._folder / (name + _SUFFIX)


def _made_at(file: Path) -> datetime:
    try:
        return datetime.strptime(file.stem.partition("-")[0], _AT).replace(tzinfo=UTC)
    except ValueError:
        raise KeyRingError(f"{file} is no key of ours: its name has no time; remove it") from None


def _read(file: Path) -> Ed25519PrivateKey:
    try:
        close_to_others(file)
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise KeyRingError(f"can't read {file}: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRingError(f"{file} holds no Ed25519 key in PEM: restore or remove it")
    return key
