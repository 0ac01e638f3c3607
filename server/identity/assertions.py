"""What a service account signs with its own key to get an IAM token, as the official SDKs make it."""

import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.domain.access import AccountKey
from server.identity.claims import SKEW, TokenError, header, lifetime, verified

_ALGORITHM = "PS256"
_LONGEST = timedelta(hours=1)
_KEY_ID = re.compile(r"[0-9A-Za-z_-]{1,50}")


class Assertions:
    """Checks assertions that are meant for one of the audiences."""

    def __init__(self, audiences: Collection[str]) -> None:
        self._audiences = audiences
        # An assertion with an unknown key is checked against this one, to take as long as any other. It
        # has no private half: a number that looks like a modulus is enough.
        modulus = 1 << 2047 | secrets.randbits(2047) | 1
        self._dummy_key = rsa.RSAPublicNumbers(65537, modulus).public_key()

    def key_id(self, assertion: str) -> str:
        """Returns which key an assertion claims to be signed with, "" for none that could exist."""
        try:
            found = header(assertion).get("kid", "")
        except TokenError:
            return ""
        return found if _KEY_ID.fullmatch(found) else ""

    def check(self, assertion: str, key: AccountKey | None, now: datetime) -> AccountKey:
        """Returns the key; raises TokenError unless its account signed this, not long ago, for us.

        `key` is what the storage has under `key_id`. Without one a signature is checked all the
        same, so that this takes as long.
        """
        claims, _ = verified(
            assertion,
            serialization.load_pem_public_key(key.public_key.encode()) if key else self._dummy_key,
            [_ALGORITHM],
            now,
            audiences=self._audiences,
            issuer=key.service_account_id if key else None,
        )
        if key is None:
            raise TokenError("unknown key")
        if lifetime(claims) > _LONGEST + SKEW:
            raise TokenError("holds too long")
        return key
