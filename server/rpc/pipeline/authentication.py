"""Who is calling: from an Authorization header to a Subject."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime

from server.domain.access import Subject, hash_token
from server.domain.errors import BillingError, Reason
from server.identity.claims import TokenError
from server.identity.tokens import Tokens
from server.rpc.pipeline.availability import in_time
from server.storage.interface import AccessStorage
from server.storage.interface.deadlines import end_within
from server.telemetry.failure_log import FailureLog
from server.telemetry.metrics import TOKENS_CHECKED

_REFUSED = FailureLog(logging.getLogger(__name__))

# Characters of a token; a longer one is refused unseen.
LONGEST_TOKEN = 8192
# The cache of a process, in bytes of memory, and how many tokens it checks at once.
MAX_BYTES = 16 << 20
MAX_CHECKS = 1000
# With the second that the keys in use may be old, this is how long a change may take to be seen by
# a process that missed the signal: five seconds.
_CACHED_FOR_S = 4.0


def credentials_invalid() -> BillingError:
    """Returns the refusal of any credentials, which never tells what was wrong with them."""
    return BillingError(
        Reason.CREDENTIALS_INVALID,
        "The credentials are not valid, or no longer; get a new IAM token and send it as "
        "'Authorization: Bearer <token>'.",
    )


class _SubjectCache:
    """Proven subjects by Authorization header; the oldest make room for new ones."""

    def __init__(self) -> None:
        self._subjects: dict[str, tuple[Subject, float]] = {}
        self._bytes = 0
        self.get = self._subjects.get

    def put(self, authorization: str, subject: Subject, until: float) -> None:
        """Remembers a subject until a monotonic time."""
        known = self._subjects
        if authorization in known:
            self._drop(authorization)
        known[authorization] = subject, until
        self._bytes += _size(authorization, subject)
        while self._bytes > MAX_BYTES and len(known) > 1:
            self._drop(next(iter(known)))

    def _drop(self, authorization: str) -> None:
        subject, _ = self._subjects.pop(authorization)
        self._bytes -= _size(authorization, subject)


def _size(authorization: str, subject: Subject) -> int:
    """Returns about how many bytes of memory are held: measured, rounded up."""
    return 600 + len(authorization) + 500 * len(subject.roles)


class Authenticator:
    """Proves callers' identity; remembers the latest answers so that most calls cost no look-up."""

    def __init__(
        self,
        storage: AccessStorage,
        tokens: Tokens,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._tokens = tokens
        self._clock = clock
        self._monotonic = monotonic
        self._cache = _SubjectCache()
        self._checks: dict[str, asyncio.Task[Subject]] = {}
        storage.on_access_change(self._forget)

    def cached_subject(self, authorization: str) -> Subject | None:
        """Returns the subject that `authenticate` found a moment ago, if it did.

        It knows the usual spelling of the header alone.
        """
        known = self._cache.get(authorization)
        return known[0] if known and self._monotonic() < known[1] else None

    def has_cached(self, authorization: str) -> bool:
        """Whether `authenticate` has found a subject lately, however that would end now."""
        return self._cache.get(authorization) is not None

    async def authenticate(self, authorization: str) -> Subject:
        """Returns the subject of `Bearer <token>`; raises CREDENTIALS_MISSING or _INVALID, OVERLOADED."""
        if not authorization:
            raise BillingError(
                Reason.CREDENTIALS_MISSING,
                "Send your IAM token as 'Authorization: Bearer <token>'.",
            )
        scheme, _, token = authorization.partition(" ")
        token = _normal(token)
        if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
            raise credentials_invalid()
        # However it was spelt, a token is remembered once.
        authorization = f"Bearer {token}"
        known = self.cached_subject(authorization)
        if known:
            return known
        # Calls that come with the same token meanwhile wait for the one answer.
        check = self._checks.get(authorization)
        if check is None:
            if len(self._checks) >= MAX_CHECKS:
                raise BillingError(
                    Reason.OVERLOADED,
                    "The server has as many tokens to check as it can bear; try again shortly.",
                    retry_after_s=1.0,
                )
            check = asyncio.create_task(self._look_up(authorization, token))
            self._checks[authorization] = check
            check.add_done_callback(lambda done: self._looked_up(authorization, done))
        return await in_time(asyncio.shield(check))

    async def _look_up(self, authorization: str, token: str) -> Subject:
        end_within(math.inf)  # whoever comes to wait for it has a deadline of their own
        now = self._clock()
        begun_at = self._monotonic()
        cached_for_s = _CACHED_FOR_S
        cache = self._cache
        why = "revoked, or its account or key removed"
        try:
            verified = await self._tokens.check(token, now)
        except TokenError as error:
            why = str(error)
            subject = await self._storage.get_subject(hash_token(token), now)
        else:
            subject = await self._storage.get_proven_subject(verified)
            cached_for_s = min(cached_for_s, (verified.expires_at - now).total_seconds())
        if subject is None:
            TOKENS_CHECKED.labels("refused").inc()
            _REFUSED.tell(f"credentials refused: {why}", level=logging.INFO)
            raise credentials_invalid()
        # Into the cache that was in use when the look-up began: if rights have changed since, that one
        # has been thrown away, and what was looked up too early with it.
        TOKENS_CHECKED.labels("accepted").inc()
        cache.put(authorization, subject, begun_at + cached_for_s)
        return subject

    def _looked_up(self, authorization: str, done: asyncio.Task[Subject]) -> None:
        if self._checks.get(authorization) is done:
            del self._checks[authorization]
        if not done.cancelled():
            done.exception()  # those who waited may have gone

    def _forget(self) -> None:
        self._cache = _SubjectCache()
        self._checks = {}
        self._tokens.forget_keys()


def _normal(token: str) -> str:
    """Returns the token without what has no meaning: blanks around it, padding of a signature."""
    token = token.strip()
    return token.rstrip("=") if token.count(".") == 2 else token
