"""Tokens of an outside issuer (OpenID Connect), checked against the key set that it publishes."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from server.domain.access import VerifiedToken
from server.domain.errors import BillingError, Reason
from server.identity.claims import identifier, signed_part_hash, verified
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

_ALGORITHMS: Mapping[str, type] = {
    "RS256": rsa.RSAPublicKey,
    "PS256": rsa.RSAPublicKey,
    "ES256": ec.EllipticCurvePublicKey,
    "EdDSA": ed25519.Ed25519PublicKey,
}

_FETCH_S = 5.0
# Read again after this time, so that a key that the issuer has withdrawn is not trusted for long.
_FRESH_S = 300.0
# Unknown keys make it read the set again, but not more often than this.
_RETRY_S = 30.0
# Of a key set; the largest known ones have a few kilobytes.
_MOST_BYTES = 1 << 20
_MOST_KEYS = 1000
# Calls that may wait for a reading at once: anybody can send a token with a made-up key.
_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class OidcKey:
    """A public key of the issuer, and the one algorithm that a token may be checked with."""

    public: Any
    algorithm: str


class OidcIssuer:
    """Accepts tokens of one issuer that are meant for one audience.

    `key_set` is an https URL or a file's path. A key set that can't be read leaves the last one in
    force. The subject is the `sub` claim.

    PyJWKClient caches a set too, but blocks a thread for each caller, takes a set of any size, and
    once its set has aged trusts no key while the issuer is down.
    """

    def __init__(self, issuer: str, audience: str, key_set: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._source = key_set
        # Public keys by ID and by the algorithm that a token may be checked with.
        self._keys: Mapping[tuple[str, str], Any] = {}
        self._read_at = -_FRESH_S
        self._tried_at = -_RETRY_S
        self._reading = asyncio.Lock()
        self._waiting = 0
        self._refresh: asyncio.Task[None] | None = None
        self._failures = FailureLog(_log)

    async def key(self, described: Mapping[str, Any]) -> OidcKey | None:
        """Returns the issuer's key that a token with this header is to be checked with, if any.

        Raises OVERLOADED where too many wait for the issuer.
        """
        wanted = described.get("kid", ""), str(described.get("alg"))
        key_id, algorithm = wanted
        if algorithm not in _ALGORITHMS or not key_id:
            return None
        if wanted not in self._keys:
            await self._read_for(wanted)
        elif time.monotonic() - self._read_at >= _FRESH_S and self._may_read():
            # Nobody waits for this: an issuer that is down must not hold up those it has known.
            self._refresh = asyncio.create_task(self._read())
        key = self._keys.get(wanted)
        return OidcKey(key, algorithm) if key else None

    def proof(self, token: str, key: OidcKey, now: datetime) -> VerifiedToken:
        """Returns what the token proves; raises TokenError."""
        claims, ends_at = verified(
            token,
            key.public,
            [key.algorithm],
            now,
            audiences=[self._audience],
            issuer=self._issuer,
        )
        return VerifiedToken(signed_part_hash(token), identifier(claims, "sub"), None, ends_at)

    async def _read_for(self, wanted: tuple[str, str]) -> None:
        """Reads the set, or waits for who reads it already, in the hope of a key. Raises OVERLOADED."""
        if not (self._reading.locked() or self._may_read()):
            return
        if self._waiting >= _MOST_WAITING:
            raise BillingError(
                Reason.OVERLOADED,
                "Too many calls wait for the keys of the token's issuer; try again shortly.",
                retry_after_s=_FETCH_S,
            )
        self._waiting += 1
        try:
            async with self._reading:
                if wanted not in self._keys and self._may_read():
                    await self._read()
        finally:
            self._waiting -= 1

    def _may_read(self) -> bool:
        return time.monotonic() - self._tried_at >= _RETRY_S

    async def _read(self) -> None:
        self._tried_at = time.monotonic()
        try:
            async with asyncio.timeout(_FETCH_S):
                content = await _content(self._source)
                found = await asyncio.to_thread(_keys_of, content)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            what = f"key set of the outside issuer not read: {type(error).__name__}"
            self._failures.tell(what, level=logging.ERROR)
            return
        self._keys = found
        self._read_at = time.monotonic()


def _keys_of(content: bytes) -> dict[tuple[str, str], Any]:
    """Returns the usable keys of a set; raises ValueError where there is none."""
    data = json.loads(content)
    described = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(described, list) or len(described) > _MOST_KEYS:
        raise ValueError("not a key set of reasonable size")
    keys = {
        (each["kid"], algorithm): public
        for each in described
        for algorithm in _ALGORITHMS
        if (public := _public_key(each, algorithm))
    }
    if not keys:
        raise ValueError("no usable key")
    return keys


def _public_key(described: Any, algorithm: str) -> Any:
    """Returns what a JSON Web Key verifies by this algorithm with, if it is meant for that."""
    if not isinstance(described, dict):
        return None
    key_id, operations = described.get("kid"), described.get("key_ops", ["verify"])
    if not isinstance(key_id, str) or not key_id or described.get("alg", algorithm) != algorithm:
        return None
    if described.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        public = jwt.PyJWK(described, algorithm).key
    except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
        # The library does not look at the types of all members before it reads them.
        return None
    return public if isinstance(public, _ALGORITHMS[algorithm]) else None


async def _content(source: str) -> bytes:
    if source.startswith("https://"):
        return await _fetched(source)
    return await asyncio.to_thread(_file, source)


def _file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return _bounded(file.read(_MOST_BYTES + 1))


async def _fetched(url: str) -> bytes:
    """Reads an https URL, without going on to another, which perhaps has no TLS.

    In the event loop, where all of it can be cut off: a thread waits as long as an issuer goes on
    sending a byte now and then.
    """
    trusted = await asyncio.to_thread(ssl.create_default_context)
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        session.get(url, ssl=trusted, allow_redirects=False) as answer,
    ):
        if answer.status != HTTPStatus.OK:
            raise ValueError("no answer with a key set")
        content = b""
        async for part in answer.content.iter_any():
            content = _bounded(content + part)
    return content


def _bounded(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError("the key set is too large")
    return content
