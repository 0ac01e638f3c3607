"""An invitation in a storage, and all that can be done to it."""

from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.domain.customers import CustomerState
from server.domain.errors import BillingError
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    NewInvitation,
    link_token_hash,
    resend,
)
from server.domain.operations import Operation
from server.storage.interface import Delivery, IdempotencyKey
from server.storage.storage import SqlStorage
from tests.storage.records import ACTOR, INVITATION_LIFETIME, LEASE, START, latest_operation, new

MINUTE = timedelta(minutes=1)
LAPSES_AT = START + INVITATION_LIFETIME


@dataclass
class StoredInvitation:
    """One invitation in a storage, and what is done to it. `token` is of the latest link."""

    storage: SqlStorage
    made: NewInvitation
    token: str = ""

    def seen_by(self, process: SqlStorage) -> "StoredInvitation":
        """Returns the same invitation as another process sees it."""
        return replace(self, storage=process)

    def act(self, name: str, **arguments: Any) -> Coroutine[Any, Any, Any]:
        """Returns the call of an action, by its name."""
        match name:
            case "accept":
                return self.answer(InvitationAction.ACCEPT, **arguments)
            case "decline":
                return self.answer(InvitationAction.DECLINE, **arguments)
            case "revoke":
                return self.revoke(**arguments)
            case "resend":
                return self.resend(**arguments)
            case "expire":
                return self.storage.retention.expire_invitations(LAPSES_AT, 10)
        raise AssertionError(name)

    async def deliver(self, now: datetime = START) -> Delivery:
        """Sends the e-mail that is due; the link in it is then the latest."""
        delivery = await self.claim(now)
        assert await self.storage.mail.finish_delivery(delivery, now)
        return delivery

    async def claim(self, now: datetime = START) -> Delivery:
        deliveries = await self.storage.mail.claim_deliveries(1000, now, LEASE)
        (own,) = [each for each in deliveries if each.invitation_id == self.made.invitation.id]
        self.token = own.link_token
        return own

    async def answer(
        self,
        action: InvitationAction = InvitationAction.ACCEPT,
        now: datetime = START + MINUTE,
        token: str | None = None,
        use: IdempotencyKey | None = None,
    ) -> Invitation | None:
        secret = link_token_hash(token or self.token)
        return await self.storage.invitations.answer_invitation(secret, action, now, ACTOR, use)

    async def revoke(
        self, now: datetime = START + MINUTE, use: IdempotencyKey | None = None
    ) -> Invitation | None:
        return await self.storage.invitations.revoke_invitation(
            self.made.invitation.id, now, ACTOR, use
        )

    async def resend(
        self,
        now: datetime = START + MINUTE,
        interval: timedelta = MINUTE,
        use: IdempotencyKey | None = None,
    ) -> Operation:
        operation = resend(self.made.customer, resent_by="s", now=now)
        id_, until = self.made.invitation.id, now + INVITATION_LIFETIME
        found = await self.storage.invitations.resend_invitation(
            id_, operation, until, interval, ACTOR, use
        )
        assert found
        return found

    async def recorded(self) -> Invitation:
        found = await self.storage.invitations.get_invitation(self.made.invitation.id)
        assert found
        return found

    async def latest(self) -> str:
        """Returns the ID of the operation that sent its latest e-mail, or is to send it."""
        return await latest_operation(self.storage, self.made.invitation.id)

    async def customer_state(self) -> CustomerState:
        found = await self.storage.customers.get_customer(self.made.customer.id)
        assert found
        return found.state

    async def operation(self, id_: str | None = None) -> Operation:
        found = await self.storage.operations.get_operation(id_ or self.made.operation.id)
        assert found
        return found


async def recorded(storage: SqlStorage, made: NewInvitation | None = None) -> StoredInvitation:
    made = made or new()
    await storage.invitations.create_invitation(made, None)
    return StoredInvitation(storage, made)


async def sent(storage: SqlStorage, made: NewInvitation | None = None) -> StoredInvitation:
    stored = await recorded(storage, made)
    await stored.deliver(stored.made.invitation.created_at)
    return stored


async def refused(call: object) -> BillingError:
    with pytest.raises(BillingError) as found:
        await call  # type: ignore[misc]
    return found.value
