"""Who is calling: from an Authorization header to a Subject."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from server.domain.access import Subject, hash_token
from server.domain.errors import BillingError, Reason
from server.identity.claims import TokenError
from server.identity.tokens import Tokens
from server.storage.access_interface import AccessStorage

_log = logging.getLogger(__name__)

# Characters of a token; a longer one is refused unseen.
LONGEST_TOKEN = 8192
_REMEMBERED = 10_000
# How long a change may take to be seen by a process that missed the signal.
_REMEMBERED_FOR = timedelta(seconds=5)


def credentials_invalid() -> BillingError:
    """Returns the refusal of any credentials, which never tells what was wrong with them."""
    return BillingError(
        Reason.CREDENTIALS_INVALID,
        "The credentials are not valid, or no longer; get a new IAM token and send it as "
        "'Authorization: Bearer <token>'.",
    )


class Authenticator:
    """Proves callers' identity; remembers the latest answers so that most calls cost no look-up."""

    def __init__(
        self, storage: AccessStorage, tokens: Tokens, clock: Callable[[], datetime]
    ) -> None:
        self._storage = storage
        self._tokens = tokens
        self._clock = clock
        self._known: OrderedDict[str, tuple[Subject, datetime]] = OrderedDict()
        self._proving: dict[str, asyncio.Task[Subject]] = {}
        storage.on_access_change(self._forget)

    def remembered(self, authorization: str) -> Subject | None:
        """Returns the subject that `authenticate` found a moment ago, if it did."""
        known = self._known.get(authorization)
        return known[0] if known and self._clock() < known[1] else None

    async def authenticate(self, authorization: str) -> Subject:
        """Returns the subject of `Bearer <token>`; raises CREDENTIALS_MISSING or _INVALID."""
        if not authorization:
            raise BillingError(
                Reason.CREDENTIALS_MISSING,
                "Send your IAM token as 'Authorization: Bearer <token>'.",
            )
        known = self.remembered(authorization)
        if known:
            return known
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
            raise credentials_invalid()
        # Calls that come with the same token meanwhile wait for the one answer.
        proving = self._proving.get(authorization)
        if proving is None:
            proving = asyncio.create_task(self._prove(authorization, token))
            self._proving[authorization] = proving
            proving.add_done_callback(lambda done: self._proved(authorization, done))
        return await asyncio.shield(proving)

    async def _prove(self, authorization: str, token: str) -> Subject:
        now = self._clock()
        remembered_until = now + _REMEMBERED_FOR
        known = self._known
        why = "revoked, or its account or key removed"
        try:
            proof = await self._tokens.check(token, now)
        except TokenError as error:
            why = str(error)
            subject = await self._storage.get_subject(hash_token(token), now)
        else:
            subject = await self._storage.get_proven_subject(proof)
            remembered_until = min(remembered_until, proof.expires_at)
        if subject is None:
            _log.info("credentials refused: %s", why)
            raise credentials_invalid()
        # What was looked up before a change of rights goes into what was forgotten since.
        known[authorization] = subject, remembered_until
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
        return subject

    def _proved(self, authorization: str, done: asyncio.Task[Subject]) -> None:
        if self._proving.get(authorization) is done:
            del self._proving[authorization]
        if not done.cancelled():
            done.exception()  # those who waited may have gone

    def _forget(self) -> None:
        self._known = OrderedDict()
        self._proving = {}
