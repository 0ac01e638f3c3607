"""Addresses that nothing is sent to: what resellers do about them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from server.domain.access import Permission, Subject
from server.domain.suppressions import Suppression
from server.storage.interface import Cursor, Listed, SuppressionStorage


class Suppressions:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(self, suppressions: SuppressionStorage, clock: Callable[[], datetime]) -> None:
        self._suppressions = suppressions
        self._clock = clock

    async def page(
        self, caller: Subject, reseller_id: str, limit: int, after: Cursor | None
    ) -> Sequence[Listed[Suppression]]:
        """Returns at most `limit` addresses that bounced for the reseller, past the cursor."""
        caller.require(Permission.READ, reseller_id)
        return await self._suppressions.list_suppressions(reseller_id, limit, after)

    async def release(
        self, caller: Subject, reseller_id: str, suppression_id: str, request_id: str
    ) -> None:
        """Has an address that bounced for the reseller get e-mails again."""
        caller.require(Permission.WRITE, reseller_id)
        await self._suppressions.release_suppression(
            reseller_id, suppression_id, self._clock(), caller.actor(request_id)
        )
