"""What can be done with invitations: by resellers, and by whoever holds the link."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from server.api import names
from server.api.calls import Call
from server.api.limits import RateLimit
from server.domain.access import Permission, Subject
from server.domain.errors import BillingError, Reason, Resource
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    InvitationView,
    as_of,
    is_link_token,
    link_token_hash,
    resend,
)
from server.domain.operations import Operation
from server.storage.interface import Cursor, IdempotencyKey, Storage

_TYPE = "billing.v1.Invitation"


class Invitations:
    """The use cases. What they return is as it is now; operations are returned once durable.

    By the link: `token` is the link's secret and all the proof that is needed, `address` is where
    the call comes from. Each raises NOT_FOUND for a link that leads nowhere, whatever is wrong with
    it, and RATE_EXCEEDED in its place for an address that tried too many of them; a right link
    opens whatever came from its address. A wrong one costs one look-up by a key, shared with the
    calls that come at the same time, and no writing.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Callable[[], datetime],
        lifetime: timedelta,
        resend_interval: timedelta,
        guesses: RateLimit,
    ) -> None:
        """`guesses` is how many links that lead nowhere one address may try."""
        self._storage = storage
        self._clock = clock
        self._lifetime = lifetime
        self._resend_interval = resend_interval
        self._guesses = guesses

    async def look_up(self, token: str, address: str = "") -> InvitationView:
        """Returns the invitation that the link leads to, or led to; changes nothing."""
        if not is_link_token(token):
            # No guess worth counting, and not worth a look-up either.
            raise _no_such_link()
        found = await self._storage.look_up_invitation(link_token_hash(token))
        if found is None:
            raise self._refusal_of_guess(address)
        return found._replace(invitation=as_of(found.invitation, self._clock()))

    async def accept(
        self, token: str, address: str = "", key: IdempotencyKey | None = None
    ) -> Invitation:
        """Accepts; an accepted one is returned as it is. Raises INVITATION_STATE."""
        return await self._answer(InvitationAction.ACCEPT, token, address, key)

    async def decline(
        self, token: str, address: str = "", key: IdempotencyKey | None = None
    ) -> Invitation:
        """Declines; a declined one is returned as it is. Raises INVITATION_STATE."""
        return await self._answer(InvitationAction.DECLINE, token, address, key)

    async def get(self, name: str, call: Call) -> Invitation:
        """Returns an invitation of a reseller that the caller may read."""
        return as_of(await self._find(name, call, Permission.READ), self._clock())

    async def page(
        self,
        caller: Subject,
        reseller_id: str,
        state: InvitationState | None,
        email: str | None,
        limit: int,
        after: Cursor | None,
    ) -> Sequence[Invitation]:
        """Returns at most `limit` of the reseller's invitations, newest first, past the cursor."""
        caller.require(Permission.READ, reseller_id)
        now = self._clock()
        rows = await self._storage.list_invitations(reseller_id, state, email, now, limit, after)
        return [as_of(row, now) for row in rows]

    async def resend(self, name: str, call: Call) -> Operation:
        """Has the e-mail sent again, with a new link. Raises INVITATION_STATE, RESENT_TOO_SOON."""
        found = await self._find(name, call, Permission.WRITE)
        customer = await self._storage.get_customer(found.customer_id)
        if customer is None:
            raise _not_found(name)
        now = self._clock()
        operation = await self._storage.resend_invitation(
            found.id,
            resend(customer, resent_by=call.caller.id, now=now),
            now + self._lifetime,
            self._resend_interval,
            call.idempotency_key,
        )
        if operation is None:
            raise _not_found(name)
        return operation

    async def revoke(self, name: str, call: Call) -> Invitation:
        """Takes the invitation back. Raises INVITATION_STATE."""
        found = await self._find(name, call, Permission.WRITE)
        revoked = await self._storage.revoke_invitation(
            found.id, self._clock(), call.idempotency_key
        )
        if revoked is None:
            raise _not_found(name)
        return revoked

    async def _answer(
        self, action: InvitationAction, token: str, address: str, key: IdempotencyKey | None
    ) -> Invitation:
        await self.look_up(token, address)
        found = await self._storage.answer_invitation(
            link_token_hash(token), action, self._clock(), key
        )
        if found is None:
            raise _no_such_link()
        return found

    def _refusal_of_guess(self, address: str) -> BillingError:
        """Counts a link that leads nowhere."""
        try:
            self._guesses.admit(address)
        except BillingError as error:
            return BillingError(
                error.reason,
                "Too many links that lead nowhere were tried from here; a right one opens all the "
                "same. Try again later.",
                retry_after_s=error.retry_after_s,
            )
        return _no_such_link()

    async def _find(self, name: str, call: Call, permission: Permission) -> Invitation:
        """Returns an invitation as it is recorded, if the caller has the permission for it."""
        reseller_id, invitation_id = names.parse_name(name, names.INVITATIONS)
        call.caller.require(permission, reseller_id)
        found = await self._storage.get_invitation(invitation_id)
        if found is None or found.reseller_id != reseller_id:
            raise _not_found(name)
        return found


def _no_such_link() -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such link, or no longer: take the one in the latest e-mail, whole, or ask who "
        "invited you.",
    )


def _not_found(name: str) -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such invitation; check its name.",
        resource=Resource(_TYPE, name[:100]),
    )
