"""Addresses that nothing is sent to."""

from datetime import datetime
from typing import Protocol

from server.domain.access import Actor
from server.domain.suppressions import Suppression, SuppressionReason
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed


class SuppressionStorage(Protocol):
    """Keeps them. What bounced for good is suppressed as that is recorded, see BounceStorage."""

    async def list_suppressions(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Suppression]]:
        """Returns at most `limit` addresses that bounced for the reseller, newest first."""
        ...

    async def release_suppression(
        self,
        reseller_id: str,
        suppression_id: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> bool:
        """Has the address get e-mails again that bounced for the reseller. False: none such did.

        Raises IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def suppression_by_link(self, token_hash: bytes) -> SuppressionReason | None:
        """Returns why nothing is sent to whom a link was sent to; None: something is."""
        ...

    async def suppress_by_link(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        """Has nothing more sent to the address that a link was sent to, by anybody.

        Links that were replaced do as well. What waits to be sent there is not sent. False: no such
        link.
        """
        ...

    async def release_by_link(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        """Takes that back, whatever the reason was. False: no such link."""
        ...
