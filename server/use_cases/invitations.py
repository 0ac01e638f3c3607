"""What can be done with invitations: by resellers, and by whoever holds the link."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from server.domain.access import INVITEE, Actor, Permission, Subject
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationList,
    InvitationState,
    InvitationView,
    as_of,
    is_link_token,
    link_token_hash,
    new_link_token,
    resend,
)
from server.domain.operations import Operation
from server.storage.interface import (
    Cursor,
    CustomerStorage,
    IdempotencyKey,
    InvitationStorage,
    Part,
)


class Invitations:
    """The use cases. What they return is as it is now; operations are returned once durable.

    Those of resellers raise PERMISSION_MISSING. Those by the link need no caller: `token`, the
    link's secret, is all the proof. `look_up` comes first: a link that leads nowhere, for which it
    returns None, costs a read, with `accept` and `decline` it would cost a write.
    """

    def __init__(
        self,
        invitations: InvitationStorage,
        customers: CustomerStorage,
        clock: Callable[[], datetime],
        lifetime: timedelta,
        resend_interval: timedelta,
    ) -> None:
        """`lifetime` is how long an invitation can be accepted after it was sent, or sent again."""
        self._invitations = invitations
        self._customers = customers
        self._clock = clock
        self._lifetime = lifetime
        self._resend_interval = resend_interval

    async def look_up(self, token: str) -> InvitationView | None:
        """Returns the invitation that the link leads to, or led to; changes nothing."""
        if not is_link_token(token):
            return None
        found = await self._invitations.look_up_invitation(link_token_hash(token))
        return found and found._replace(invitation=as_of(found.invitation, self._clock()))

    async def accept(
        self, token: str, request_id: str, key: IdempotencyKey | None = None
    ) -> Invitation | None:
        """Accepts; an accepted one is returned as it is. Raises INVITATION_STATE."""
        return await self._answer(InvitationAction.ACCEPT, token, request_id, key)

    async def decline(
        self, token: str, request_id: str, key: IdempotencyKey | None = None
    ) -> Invitation | None:
        """Declines; a declined one is returned as it is. Raises INVITATION_STATE."""
        return await self._answer(InvitationAction.DECLINE, token, request_id, key)

    async def request_renewal(self, token: str, request_id: str) -> bool:
        """Tells the reseller that whoever has the link to an expired invitation wants a new one."""
        return await self._invitations.request_renewal(
            link_token_hash(token), self._clock(), Actor(INVITEE, None, request_id)
        )

    async def get(self, caller: Subject, reseller_id: str, invitation_id: str) -> Invitation | None:
        """Returns an invitation of the reseller."""
        found = await self._find(caller, Permission.READ, reseller_id, invitation_id)
        return found and as_of(found, self._clock())

    async def page(
        self,
        caller: Subject,
        wanted: InvitationList,
        limit: int,
        after: Cursor | None,
    ) -> Part[Invitation]:
        """Returns at most `limit` of the invitations that are wanted, past the cursor.

        With how their e-mails stand.
        """
        caller.require(Permission.READ, wanted.reseller_id)
        now = self._clock()
        part = await self._invitations.list_invitations(wanted, now, limit, after)
        shown = await self.with_unsent(as_of(row.record, now) for row in part.rows)
        rows = [row._replace(record=shown[row.record.id]) for row in part.rows]
        return part._replace(rows=rows)

    async def with_unsent(self, invitations: Iterable[Invitation]) -> dict[str, Invitation]:
        """Returns, by ID, invitations such as `get` returns, with how their e-mails stand.

        A record tells that only of e-mails that have gone out.
        """
        all_ = {each.id: each for each in invitations}
        pending = [each for each in all_.values() if each.state is InvitationState.PENDING]
        unsent = await asyncio.gather(*(self._invitations.get_unsent(each.id) for each in pending))
        for invitation, delivery in zip(pending, unsent, strict=True):
            if delivery:
                all_[invitation.id] = invitation._replace(delivery=delivery)
        return all_

    async def resend(
        self,
        caller: Subject,
        reseller_id: str,
        invitation_id: str,
        request_id: str,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Operation | Invitation | None:
        """Has the e-mail sent again, with a new link. Raises INVITATION_STATE, RESENT_TOO_SOON.

        With `dry_run` returns the invitation as it is, and nothing is done.
        """
        found = await self._find(caller, Permission.WRITE, reseller_id, invitation_id)
        customer = await self._customers.get_customer(found.customer_id) if found else None
        if found is None or customer is None:
            return None
        now = self._clock()
        resent = await self._invitations.resend_invitation(
            found.id,
            resend(customer, resent_by=caller.id, now=now, method=found.options.method),
            now + (found.options.lifetime or self._lifetime),
            self._resend_interval,
            caller.actor(request_id),
            key,
            dry_run=dry_run,
        )
        return as_of(found, now) if resent and dry_run else resent

    async def correct(
        self,
        caller: Subject,
        reseller_id: str,
        invitation_id: str,
        email: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        """Sends the invitation to another address, in normal form, with a new link, and returns it.

        Raises INVITATION_STATE, INVITATION_OPEN, RESENT_TOO_SOON.
        """
        found = await self._find(caller, Permission.WRITE, reseller_id, invitation_id)
        customer = await self._customers.get_customer(found.customer_id) if found else None
        if found is None or customer is None:
            return None
        now = self._clock()
        corrected = await self._invitations.correct_invitation(
            found.id,
            email,
            resend(customer, resent_by=caller.id, now=now, method=found.options.method),
            now + (found.options.lifetime or self._lifetime),
            caller.actor(request_id),
            key,
        )
        return corrected and as_of(corrected, now)

    async def create_link(
        self,
        caller: Subject,
        reseller_id: str,
        invitation_id: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> tuple[str, Invitation] | None:
        """Returns a fresh secret for a link to the invitation, which nothing tells again, and that.

        Raises INVITATION_STATE, LINK_LIMIT_REACHED, LINK_SHOWN_ONCE.
        """
        found = await self._find(caller, Permission.WRITE, reseller_id, invitation_id)
        if found is None:
            return None
        token = new_link_token()
        invitation = await self._invitations.create_link(
            found.id, link_token_hash(token), self._clock(), caller.actor(request_id), key
        )
        return (token, invitation) if invitation else None

    async def revoke(
        self,
        caller: Subject,
        reseller_id: str,
        invitation_id: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        """Takes the invitation back. Raises INVITATION_STATE."""
        found = await self._find(caller, Permission.WRITE, reseller_id, invitation_id)
        if found is None:
            return None
        return await self._invitations.revoke_invitation(
            found.id, self._clock(), caller.actor(request_id), key
        )

    async def _answer(
        self, action: InvitationAction, token: str, request_id: str, key: IdempotencyKey | None
    ) -> Invitation | None:
        return await self._invitations.answer_invitation(
            link_token_hash(token), action, self._clock(), Actor(INVITEE, None, request_id), key
        )

    async def _find(
        self, caller: Subject, permission: Permission, reseller_id: str, invitation_id: str
    ) -> Invitation | None:
        """Returns an invitation as it is recorded, if the caller has the permission for it."""
        caller.require(permission, reseller_id)
        found = await self._invitations.get_invitation(invitation_id)
        return found if found and found.reseller_id == reseller_id else None
