"""The invitations' part of the storage."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationList,
    InvitationView,
    NewInvitation,
)
from server.domain.limits import Limits
from server.domain.mail import EmailDelivery
from server.domain.operations import Operation
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Part
from server.storage.invitations.actions import Answer, NewLink, Resend, Revocation, act
from server.storage.invitations.addresses import address_hash, open_slot
from server.storage.invitations.correct import Correction
from server.storage.invitations.create import Creation, create_invitations
from server.storage.invitations.lists import InvitationPage, list_invitations
from server.storage.invitations.read import (
    get_customer_invitations,
    get_invitations,
    get_unsent,
    look_up_invitations,
)
from server.storage.invitations.renewals import Renewal, request_renewals
from server.storage.keys import KeyLifetime
from server.storage.sql.batches import Batcher
from server.storage.sql.times import micros
from server.storage.sql.transactions import dry_run as without_effect
from server.telemetry.origins import origin


class SqlInvitations:
    """Implements `interface.InvitationStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher, keys: KeyLifetime, limits: Limits) -> None:
        self._writes = writes
        self._reads = reads
        self._keys = keys
        self._limits = limits

    async def create_invitation(
        self, new: NewInvitation, key: IdempotencyKey | None, *, dry_run: bool = False
    ) -> Operation:
        address = address_key(new.invitation.email)
        tin = new.customer.person.get("tin", "")
        slot = address_hash(address), open_slot(new.customer.reseller_id, tin)
        use = self._keys.keyed(key, new.operation.created_at)
        creation = Creation(*(new, address, slot, use, self._limits), origin(new.actor.request_id))
        handler = without_effect(create_invitations) if dry_run else create_invitations
        return await self._writes.submit(handler, creation)

    async def look_up_invitation(self, token_hash: bytes) -> InvitationView | None:
        return await self._reads.submit(look_up_invitations, token_hash)

    async def answer_invitation(
        self,
        token_hash: bytes,
        action: InvitationAction,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        answer = Answer(token_hash, action, now, actor, self._keys.keyed(key, now))
        return cast("Invitation | None", await self._writes.submit(act, answer))

    async def get_invitation(self, invitation_id: str) -> Invitation | None:
        return await self._reads.submit(get_invitations, invitation_id)

    async def get_unsent(self, invitation_id: str) -> EmailDelivery | None:
        return await self._reads.submit(get_unsent, invitation_id)

    async def get_customer_invitations(self, customer_ids: Sequence[str]) -> dict[str, Invitation]:
        if not customer_ids:
            return {}
        return await self._reads.submit(get_customer_invitations, customer_ids)

    async def list_invitations(
        self,
        wanted: InvitationList,
        now: datetime,
        limit: int,
        after: Cursor | None,
    ) -> Part[Invitation]:
        page = InvitationPage(wanted, micros(now), limit, after)
        return await self._reads.submit(list_invitations, page)

    async def resend_invitation(
        self,
        invitation_id: str,
        operation: Operation,
        expires_at: datetime,
        interval: timedelta,
        actor: Actor,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Operation | None:
        use = self._keys.keyed(key, operation.created_at)
        resend = Resend(
            *(invitation_id, operation, expires_at, interval, actor, use, self._limits),
            origin(actor.request_id),
        )
        handler = without_effect(act) if dry_run else act
        return cast("Operation | None", await self._writes.submit(handler, resend))

    async def request_renewal(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        return await self._writes.submit(request_renewals, Renewal(token_hash, now, actor))

    async def correct_invitation(
        self,
        invitation_id: str,
        email: str,
        operation: Operation,
        expires_at: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        use = self._keys.keyed(key, operation.created_at)
        correction = Correction(
            invitation_id, email, operation, expires_at, actor, use, self._limits
        )
        return cast("Invitation | None", await self._writes.submit(act, correction))

    async def revoke_invitation(
        self, invitation_id: str, now: datetime, actor: Actor, key: IdempotencyKey | None
    ) -> Invitation | None:
        revocation = Revocation(invitation_id, now, actor, self._keys.keyed(key, now))
        return cast("Invitation | None", await self._writes.submit(act, revocation))

    async def create_link(
        self,
        invitation_id: str,
        token_hash: bytes,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        link = NewLink(invitation_id, token_hash, now, actor, self._keys.keyed(key, now))
        return cast("Invitation | None", await self._writes.submit(act, link))
