"""Addresses that nothing is sent to: what resellers do about them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from server.domain.access import INVITEE, Actor, Permission, Subject
from server.domain.invitations import link_token_hash
from server.domain.suppressions import Suppression, SuppressionReason
from server.storage.interface import Cursor, IdempotencyKey, Listed, SuppressionStorage


class Suppressions:
    """The use cases. Those of resellers raise PERMISSION_MISSING; for those by a link it is the proof."""

    def __init__(self, suppressions: SuppressionStorage, clock: Callable[[], datetime]) -> None:
        self._suppressions = suppressions
        self._clock = clock

    async def page(
        self, caller: Subject, reseller_id: str, limit: int, after: Cursor | None
    ) -> Sequence[Listed[Suppression]]:
        """Returns at most `limit` addresses that bounced for the reseller, past the cursor."""
        caller.require(Permission.READ, reseller_id)
        return await self._suppressions.list_suppressions(reseller_id, limit, after)

    async def by_link(self, token: str) -> SuppressionReason | None:
        """Returns why nothing is sent to whom a link was sent to; None: something is."""
        return await self._suppressions.suppression_by_link(link_token_hash(token))

    async def stop_by_link(self, token: str, request_id: str) -> bool:
        """Has nothing more sent to whom a link was sent to. False: no such link."""
        actor = Actor(INVITEE, None, request_id)
        link = link_token_hash(token)
        return await self._suppressions.suppress_by_link(link, self._clock(), actor)

    async def release_by_link(self, token: str, request_id: str) -> bool:
        """Takes that back. False: no such link."""
        actor = Actor(INVITEE, None, request_id)
        link = link_token_hash(token)
        return await self._suppressions.release_by_link(link, self._clock(), actor)

    async def release(
        self,
        caller: Subject,
        reseller_id: str,
        suppression_id: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> bool:
        """Has an address that bounced for the reseller get e-mails again; False where there is none."""
        caller.require(Permission.WRITE, reseller_id)
        return await self._suppressions.release_suppression(
            reseller_id, suppression_id, self._clock(), caller.actor(request_id), key
        )
