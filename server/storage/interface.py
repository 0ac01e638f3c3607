"""What the API and the worker ask of the storage. One method is one transaction.

Every method may raise BillingError with STORAGE_UNAVAILABLE or STORAGE_FULL (both with
`retry_after_s`): then nothing was changed, or for a write whose outcome is unknown, repeating it
with the same idempotency key is safe. Writes return once they are durable.
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from server.domain.customers import Customer, NewCustomer
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    InvitationView,
    NewInvitation,
)
from server.domain.operations import Deferral, Failure, Operation
from server.storage.access_interface import AccessStorage, Administration

# What is to be done later than this from now was not meant so, unless a caller says otherwise.
FURTHEST = timedelta(days=365)

# Characters of text (JSON's escapes among them) that a list reads at most, but for the last row: six
# times what an answer carries and more, so that who makes the answer always ends it earlier.
MOST_LISTED = 8 << 20


class IdempotencyKey(NamedTuple):
    """A caller's promise that two requests are one.

    `key` is a digest of the caller and the UUID it sent, `fingerprint` one of method and request.
    """

    key: bytes
    fingerprint: bytes


class Cursor(NamedTuple):
    """Where a page ended: the time and ID of its last row."""

    created_at: datetime
    id: str


class Delivery(NamedTuple):
    """An e-mail that is due, claimed by one worker until `lease_until`.

    `attempt` counts from 1 and fences: who has been overtaken by a later attempt records nothing.
    `link_token` is the secret for the link in this attempt's e-mail; only its hash is kept, and it
    holds beside those of earlier attempts, which may have arrived all the same.
    `cancel_requested` tells that the operation was asked to be cancelled while an earlier claim ran.
    `first_operation_id` is the operation whose e-mail began the thread; it is `operation_id` for the
    first e-mail of an invitation. `requested_at` is when the operation was. `reseller_contact` is the
    reseller's address for questions.
    """

    operation_id: str
    attempt: int
    lease_until: datetime
    cancel_requested: bool
    invitation_id: str
    email: str
    customer_name: str
    reseller_name: str
    expires_at: datetime
    link_token: str
    first_operation_id: str
    requested_at: datetime
    reseller_contact: str | None = None


class Storage(AccessStorage, Administration, Protocol):
    """Keeps everything."""

    async def create_invitation(self, new: NewInvitation, key: IdempotencyKey | None) -> Operation:
        """Records operation, customer, invitation, e-mail to send and key; wakes the workers.

        Returns the operation: the new one or, for a key seen before with the same fingerprint, the
        one that the key stands for, as it now is (`new` is then dropped).
        Raises IDEMPOTENCY_KEY_REUSED for another fingerprint, and INVITATION_OPEN, with metadata
        `operationId`, `customerId` and `invitationId` of the first, while the reseller has an open
        invitation with the same `open_key`; MAIL_LIMIT_REACHED, CUSTOMER_LIMIT_REACHED.
        """
        ...

    async def look_up_invitation(self, token_hash: bytes) -> InvitationView | None:
        """Returns the invitation that the link leads to, or led to before its e-mail was sent again.

        None for any other. As recorded: see `as_of`.
        """
        ...

    async def answer_invitation(
        self, token_hash: bytes, action: InvitationAction, now: datetime, key: IdempotencyKey | None
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

    async def list_invitations(
        self,
        reseller_id: str,
        state: InvitationState | None,
        email: str | None,
        now: datetime,
        limit: int,
        after: Cursor | None,
    ) -> list[Invitation]:
        """Returns at most `limit` invitations of the reseller, newest first, past the cursor.

        `state` is what they are at `now`; `email` is compared by `address_key`. As recorded: see `as_of`.
        """
        ...

    async def resend_invitation(
        self,
        invitation_id: str,
        operation: Operation,
        expires_at: datetime,
        interval: timedelta,
        key: IdempotencyKey | None,
    ) -> Operation | None:
        """Has the invitation's e-mail sent again, by the operation, at whose time all this happens.

        The links sent before hold no longer; the invitation can be accepted until `expires_at`. If
        the operation fails or is cancelled, all this is as it was before, and its own links hold
        beside the earlier ones.
        Returns the operation as `create_customer` does. None: no such invitation.
        Where the operation before it waits to try its e-mail again, that one is returned, and tries
        it at once.
        Raises INVITATION_STATE; RESENT_TOO_SOON within the interval after it was last sent again or
        a try failed, and while its e-mail is on its way; IDEMPOTENCY_KEY_REUSED; MAIL_LIMIT_REACHED.
        """
        ...

    async def revoke_invitation(
        self, invitation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> Invitation | None:
        """Takes the invitation back, and returns it. Its customer becomes inactive.

        None: no such invitation. Raises INVITATION_STATE, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def expire_invitations(self, now: datetime, limit: int) -> int:
        """Records the expiry of at most `limit` invitations that have lapsed; returns of how many."""
        ...

    async def clear_idempotency_keys(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` keys that count as unknown since an hour; returns how many."""
        ...

    async def clear_operations(self, before: datetime, limit: int) -> int:
        """Clears at most `limit` operations that ended before the time; returns how many.

        None for which a key stands, or may: not even a key that counts as unknown.
        """
        ...

    async def clear_links(self, before: datetime, limit: int) -> int:
        """Clears the links to at most `limit` invitations that ended before the time.

        Returns to how many. Until then the invitee can see how the invitation ended.
        """
        ...

    async def clear_revoked_tokens(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` revocations of tokens that expired an hour ago; returns how many."""
        ...

    async def clear_counts(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` counts of e-mails that count no more since an hour, or a few more.

        Returns how many.
        """
        ...

    async def create_customer(self, new: NewCustomer, key: IdempotencyKey | None) -> Operation:
        """Records customer, operation and key.

        Returns the operation: the new one or, for a key seen before, the one that it stands for.
        Raises IDEMPOTENCY_KEY_REUSED, CUSTOMER_LIMIT_REACHED.
        """
        ...

    async def change_customer_state(
        self, operation: Operation, key: IdempotencyKey | None
    ) -> Operation | None:
        """Does to the operation's customer what its kind says, at its time, and records it and key.

        Returns the operation as `create_customer` does. None: no such customer.
        Raises CUSTOMER_STATE by the state at that moment, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def get_customer(self, customer_id: str) -> Customer | None:
        """Returns the customer, or None."""
        ...

    async def list_customers(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Customer]:
        """Returns at most `limit` customers of the reseller, newest first, past the cursor.

        Fewer where their texts are more than MOST_LISTED characters: then up to where these are
        full, and one at least.
        """
        ...

    async def get_operation(self, operation_id: str) -> Operation | None:
        """Returns the operation, or None."""
        ...

    async def list_operations(
        self, reseller_ids: Collection[str], done: bool | None, limit: int, after: Cursor | None
    ) -> list[Operation]:
        """Returns at most `limit` operations of the resellers, newest first, past the cursor."""
        ...

    async def cancel_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> Operation | None:
        """Cancels what has not been begun, and returns the operation as it then is.

        An operation with no claim running ends CANCELLED; the customer and the invitation that it
        made are removed. One that a worker holds is marked: it completes if the e-mail goes out, and ends
        CANCELLED otherwise. A finished one is left as it is. None: no such operation.
        Raises IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def delete_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> bool:
        """Deletes a finished operation's record; the customer stays. False: no such operation.

        Raises OPERATION_RUNNING, IDEMPOTENCY_KEY_REUSED. A key seen before is True, and does nothing.
        """
        ...

    async def wait_operation(
        self,
        operation_id: str,
        longest: timedelta,
        before_look: Callable[[], Awaitable[None]] | None = None,
    ) -> Operation | None:
        """Returns the operation as soon as it is done, or as it is when the time is over.

        `before_look` is awaited before each look after the first, once a second at least; what it
        raises ends the wait.
        """
        ...

    def end_waits(self) -> None:
        """Ends the time of all `wait_operation`s, later ones too: the process is about to stop."""
        ...

    async def claim_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        furthest: timedelta = FURTHEST,
        *,
        retries_first: bool = False,
    ) -> list[Delivery]:
        """Claims e-mails that are due and not under a live lease, oldest first.

        New ones come before those that are tried again, unless `retries_first`.
        One that is due, or leased, for longer than `furthest` from now was dated by a wrong clock,
        and counts as due once nothing else is: it would lie for as long as the clock was wrong by.
        Operations whose invitation has ended meanwhile end without an e-mail; those of a reseller
        that is suspended or removed are held until it is not.
        """
        ...

    async def finish_delivery(self, delivery: Delivery, now: datetime) -> bool:
        """Records that the e-mail went out: the operation ends with the customer. False: overtaken."""
        ...

    async def fail_delivery(self, delivery: Delivery, failure: Failure, now: datetime) -> bool:
        """Ends the operation with `failure`, and takes back the customer and the invitation it made.

        An invitation that has been answered or revoked stays, and what was answered had arrived: the
        operation then ends without failure. False: overtaken.
        """
        ...

    async def retry_delivery(
        self,
        delivery: Delivery,
        due_at: datetime,
        now: datetime,
        deferral: Deferral | None = None,
        *,
        keep_link: bool = True,
    ) -> bool:
        """Gives the claim up until `due_at`; ends it CANCELLED if that was asked for.

        `deferral` tells of the attempt, where it failed; the operation then shows it. The link in
        an e-mail of which nothing has left is not kept: an outage of days would pile them up.
        False: overtaken.
        """
        ...

    async def wait_for_work(self, now: datetime, longest: timedelta) -> None:
        """Returns when an e-mail may be due: at once on a new one, else at the next due time."""
        ...

    async def ready(self) -> bool:
        """Tells whether the database answers."""
        ...

    async def close(self) -> None:
        """Lets what is under way finish and gives the connections back."""
        ...
