"""Exchanging a service account's proof for an IAM token, and revoking one."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from server.domain.access import hash_token
from server.domain.errors import BillingError, Reason
from server.identity.assertions import Assertions
from server.identity.claims import TokenError
from server.identity.key_ring import KeyRingError
from server.identity.tokens import Tokens
from server.storage.interface import AccessStorage
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)


class IssuedToken(NamedTuple):
    """An IAM token as its owner gets it."""

    token: str
    expires_at: datetime


class IamTokens:
    """The use cases. They need no caller: the assertion, or the token itself, is all the proof."""

    def __init__(
        self,
        storage: AccessStorage,
        tokens: Tokens,
        assertions: Assertions,
        clock: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._tokens = tokens
        self._assertions = assertions
        self._clock = clock
        self._failures = FailureLog(_log)

    async def create(self, assertion: str) -> IssuedToken:
        """Returns a token for the service account that signed the assertion.

        Raises CREDENTIALS_INVALID, SIGNING_KEY_MISSING.
        """
        now = self._clock()
        key = await self._storage.get_account_key(self._assertions.key_id(assertion))
        try:
            key = self._assertions.check(assertion, key, now)
        except TokenError as error:
            self._failures.tell(f"assertion refused: {error}", level=logging.INFO)
            raise _assertion_invalid() from None
        try:
            return IssuedToken(*self._tokens.issue(key.service_account_id, key.id, now))
        except KeyRingError as error:
            self._failures.tell(f"no token was made: {error}", level=logging.ERROR)
            raise _no_signing_key() from None

    async def revoke(self, token: str) -> str | None:
        """Makes a token useless; returns whose it was, None for one that does not hold.

        Repeating it changes nothing.
        """
        now = self._clock()
        try:
            verified = await self._tokens.check(token, now)
        except TokenError:
            return await self._storage.end_access_token(hash_token(token), now)
        await self._storage.revoke_token(verified)
        return verified.subject_id


def _assertion_invalid() -> BillingError:
    """Returns the refusal of a signed request, which never tells what was wrong with it."""
    return BillingError(
        Reason.CREDENTIALS_INVALID,
        "The JWT is not accepted. Check all that can be wrong with one: the clock of the machine "
        "that signed it (`iat` must not lie ahead, nor `exp` behind); its life, from `iat` to `exp`, of "
        "an hour at most; `aud`, which is https://iam.HOST:PORT/iam/v1/tokens of this service; `kid`, "
        "the ID of a key that was not removed; `iss`, the ID of that key's service account; the "
        "algorithm PS256; and that key's signature.",
    )


def _no_signing_key() -> BillingError:
    return BillingError(
        Reason.SIGNING_KEY_MISSING,
        "The service has no key to sign tokens with; whoever runs it makes one with "
        "`iam-keys rotate`. Try again then.",
        retry_after_s=60.0,
    )
