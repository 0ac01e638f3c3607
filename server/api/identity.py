"""Who is calling: from an Authorization header to a Subject."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from server.domain.access import Subject
from server.domain.errors import BillingError, Reason
from server.storage.interface import Storage

_REMEMBERED = 10_000
# How long a change of roles may take to be seen by a process that did not make it.
_REMEMBERED_FOR = timedelta(seconds=5)


class Authenticator:
    """Proves callers' identity; remembers the latest answers so that most calls cost no look-up."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._clock = clock
        self._known: OrderedDict[str, tuple[Subject, datetime]] = OrderedDict()

    async def authenticate(self, authorization: str | None) -> Subject:
        """Returns the subject of `Bearer <token>`; raises CREDENTIALS_MISSING or _INVALID."""
        if not authorization:
            raise BillingError(
                Reason.CREDENTIALS_MISSING,
                "Send your IAM token as 'Authorization: Bearer <token>'.",
            )
        now = self._clock()
        known = self._known.get(authorization)
        if known and now < known[1]:
            return known[0]
        self._known.pop(authorization, None)
        scheme, _, token = authorization.partition(" ")
        subject = None
        if scheme.lower() == "bearer" and token:
            digest = hashlib.sha256(token.strip().encode()).digest()
            subject = await self._storage.get_subject(digest, now)
        if subject is None:
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "The token is not valid; get a new one and send it as 'Authorization: Bearer <token>'.",
            )
        self._known[authorization] = (subject, now + _REMEMBERED_FOR)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return subject
