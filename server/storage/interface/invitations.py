"""Invitations: made, looked up by their links, answered, sent again, revoked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from server.domain.access import Actor
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationList,
    InvitationView,
    NewInvitation,
)
from server.domain.mail import EmailDelivery
from server.domain.operations import Operation
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Part


class InvitationStorage(Protocol):
    """Keeps the invitations."""

    async def create_invitation(
        self, new: NewInvitation, key: IdempotencyKey | None, *, dry_run: bool = False
    ) -> Operation:
        """Records operation, customer, invitation, e-mail to send and key; wakes the workers.

        With `dry_run` it does nothing, and only finds whether it could.

        The IDs of all of them must end alike.
        Returns the operation: the new one or, for a key seen before with the same fingerprint, the
        one that the key stands for, as it now is (`new` is then dropped).
        Raises IDEMPOTENCY_KEY_REUSED for another fingerprint, and INVITATION_OPEN, with metadata
        `operationId`, `customerId` and `invitationId` of the first, while the reseller has an open
        invitation with the same address and tax number; MAIL_LIMIT_REACHED, CUSTOMER_LIMIT_REACHED.
        """
        ...

    async def look_up_invitation(self, token_hash: bytes) -> InvitationView | None:
        """Returns the invitation that the link leads to, or led to before its e-mail was sent again.

        None for any other. As recorded: see `as_of`.
        """
        ...

    async def answer_invitation(
        self,
        token_hash: bytes,
        action: InvitationAction,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        """Accepts or declines the invitation that the latest link leads to, and returns it.

        Its customer becomes what goes with that. None: no such link.
        Raises INVITATION_STATE, IDEMPOTENCY_KEY_REUSED; INVITATION_HELD while it is pending and its
        reseller suspended or removed.
        """
        ...

    async def get_invitation(self, invitation_id: str) -> Invitation | None:
        """Returns the invitation, or None. As recorded: see `as_of`."""
        ...

    async def get_customer_invitations(self, customer_ids: Sequence[str]) -> dict[str, Invitation]:
        """Returns by the customers' IDs the invitations of those that have one, as recorded."""
        ...

    async def get_unsent(self, invitation_id: str) -> EmailDelivery | None:
        """Returns how the e-mail of a pending invitation stands that has not gone out yet.

        None: there is none, or the invitation is not pending.
        """
        ...

    async def list_invitations(
        self,
        wanted: InvitationList,
        now: datetime,
        limit: int,
        after: Cursor | None,
    ) -> Part[Invitation]:
        """Returns at most `limit` of the invitations that are wanted, past the cursor.

        The filter is tried on what they are at `now`, with how their latest e-mails stand,
        `get_unsent` included; where no index serves it, a page looks at a thousand of them and ends,
        full or not. As recorded: see `as_of`.
        """
        ...

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
        """Has the invitation's e-mail sent again, by the operation, at whose time all this happens.

        With `dry_run` it does nothing, and only finds whether it could.

        The links sent before hold no longer; the invitation can be accepted until `expires_at`. If
        the operation fails or is cancelled, all this is as it was before, and its own links hold
        beside the earlier ones.
        Returns the operation: the new one or, for a key seen before, the one that it stands for.
        None: no such invitation.
        Where the operation before it waits to try its e-mail again, that one is returned, and tries
        it at once.
        An operation that is done sends no e-mail, as for an invitation whose options ask for none.
        Raises INVITATION_STATE; RESENT_TOO_SOON within the interval after it was last sent again or
        a try failed, and while its e-mail is on its way; IDEMPOTENCY_KEY_REUSED;
        MAIL_LIMIT_REACHED.
        """
        ...

    async def request_renewal(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        """Tells the reseller that the invitee of an expired invitation asks for a new one.

        Asked again with nothing in between, it is not told again. False: no such link, or the
        invitation has not expired.
        """
        ...

    async def correct_invitation(
        self,
        invitation_id: str,
        email: str,
        operation: Operation,
        expires_at: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        """Gives the invitation another address, in normal form, and returns it; see `resend`.

        The operation, at whose time all this happens, sends it there; where an e-mail waits already,
        that one's operation does, and no other is made. All links sent before hold no longer, even if
        the new address is refused for good: the invitation is BOUNCED then. Nothing changes if the
        invitation has this address already.
        None: no such invitation.
        Raises INVITATION_STATE, INVITATION_OPEN, MAIL_LIMIT_REACHED, IDEMPOTENCY_KEY_REUSED;
        RESENT_TOO_SOON while its e-mail is on its way.
        """
        ...

    async def revoke_invitation(
        self, invitation_id: str, now: datetime, actor: Actor, key: IdempotencyKey | None
    ) -> Invitation | None:
        """Takes the invitation back, and returns it. Its customer becomes inactive.

        None: no such invitation. Raises INVITATION_STATE, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def create_link(
        self,
        invitation_id: str,
        token_hash: bytes,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Invitation | None:
        """Keeps the secret of one link more, by its hash; returns the invitation that it leads to.

        It holds beside the others until the invitation is sent again or ends. None: no such
        invitation. Raises INVITATION_STATE, LINK_LIMIT_REACHED, IDEMPOTENCY_KEY_REUSED;
        LINK_SHOWN_ONCE where a call with the key has made a link.
        """
        ...
