"""Tokens of an outside issuer (OpenID Connect), checked against the key set that it publishes."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from server.domain.access import Proof
from server.identity.claims import TokenError, signed_part_hash, verified

_log = logging.getLogger(__name__)

_ALGORITHMS: Mapping[str, type] = {
    "RS256": rsa.RSAPublicKey,
    "PS256": rsa.RSAPublicKey,
    "ES256": ec.EllipticCurvePublicKey,
    "EdDSA": ed25519.Ed25519PublicKey,
}
# OpenID Connect Core, section 2: at most 255 ASCII characters.
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")

_FETCH_S = 5.0
# Read again after this time, so that a key that the issuer has withdrawn is not trusted for long.
_FRESH_S = 300.0
# Unknown keys make it read the set again, but not more often than this.
_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class OutsideKey:
    """A public key of the issuer, and the one algorithm that a token may be checked with."""

    public: Any
    algorithm: str


class OutsideIssuer:
    """Accepts tokens of one issuer that are meant for one audience.

    `key_set` is an https URL or a file's path. A key set that can't be read leaves the last one in
    force. The subject is the `sub` claim.
    """

    def __init__(self, issuer: str, audience: str, key_set: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._source = key_set
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = -_FRESH_S
        self._tried_at = -_RETRY_S
        self._reading = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    async def key(self, described: Mapping[str, Any]) -> OutsideKey | None:
        """Returns the issuer's key that a token with this header is to be checked with, if any."""
        algorithm, key_id = str(described.get("alg")), described.get("kid", "")
        if algorithm not in _ALGORITHMS or not key_id:
            return None
        if key_id not in self._keys:
            await self._read_for(key_id)
        elif time.monotonic() - self._read_at >= _FRESH_S and self._may_read():
            # Nobody waits for this: an issuer that is down must not hold up those it has known.
            self._refresh = asyncio.create_task(self._read())
        key = self._keys.get(key_id)
        if key is None or not isinstance(key.key, _ALGORITHMS[algorithm]):
            return None
        return OutsideKey(key.key, algorithm)

    def proof(self, token: str, key: OutsideKey, now: datetime) -> Proof:
        """Returns what the token proves; raises TokenError."""
        claims, ends_at = verified(
            token,
            key.public,
            [key.algorithm],
            now,
            audiences=[self._audience],
            issuer=self._issuer,
        )
        subject = claims.get("sub", "")
        if not _SUBJECT.fullmatch(subject):
            raise TokenError("sub is no subject")
        return Proof(signed_part_hash(token), subject, None, ends_at)

    async def _read_for(self, key_id: str) -> None:
        """Reads the set, or waits for who reads it already, in the hope of a key."""
        if self._reading.locked() or self._may_read():
            async with self._reading:
                if key_id not in self._keys and self._may_read():
                    await self._read()

    def _may_read(self) -> bool:
        return time.monotonic() - self._tried_at >= _RETRY_S

    async def _read(self) -> None:
        self._tried_at = time.monotonic()
        try:
            async with asyncio.timeout(_FETCH_S):
                found = await asyncio.to_thread(_read_keys, self._source)
        except (jwt.PyJWTError, OSError, ValueError) as error:
            # TimeoutError is an OSError.
            _log.error("key set of the outside issuer not read: %s", type(error).__name__)
            return
        self._keys = found
        self._read_at = time.monotonic()


def _read_keys(source: str) -> dict[str, jwt.PyJWK]:
    if source.startswith("https://"):
        data = jwt.PyJWKClient(source, cache_jwk_set=False, timeout=_FETCH_S).fetch_data()
    else:
        data = json.loads(Path(source).read_bytes())
    if not isinstance(data, dict):
        raise jwt.PyJWKSetError("not a JSON object")
    keys = jwt.PyJWKSet.from_dict(data).keys
    return {key.key_id: key for key in keys if key.key_id and key.public_key_use in (None, "sig")}
