"""Work that is due: claimed by one worker at a time, under a lease, and finished or put off."""

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from server.domain.contacts import NO_DETAILS, ContactDetails
from server.domain.invitation_options import NO_OPTIONS, InvitationOptions
from server.domain.operations import Deferral, Failure

# A row that is due later than this from now was dated by a wrong clock, unless a caller knows better.
MAX_DUE_AHEAD = timedelta(days=365)


class Delivery(NamedTuple):
    """An e-mail that is due, claimed by one worker until `lease_until`.

    `attempt` counts from 1 and fences: who has been overtaken by a later attempt records nothing.
    `link_token` is the secret for the link in this attempt's e-mail; only its hash is kept, and it
    holds beside those of earlier attempts, which may have arrived all the same.
    `cancel_requested` tells that the operation was asked to be cancelled while an earlier claim ran.
    `first_operation_id` is the operation whose e-mail began the thread; it is `operation_id` for the
    first e-mail of an invitation. `requested_at` is when the operation was. `reseller_contact` is the
    reseller's address for questions, and `reseller_details` who else it is. `origin` tells of the call
    that asked for it (`telemetry.origins`).
    `options` are the invitation's. `bounce_local_part` is what stands before the @ of the address
    that this attempt's e-mail comes back to. `number` is the operation's inside the storage.
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
    number: int
    reseller_contact: str | None = None
    customer_id: str = ""
    reseller_id: str = ""
    origin: str | None = None
    reseller_details: ContactDetails = NO_DETAILS
    options: InvitationOptions = NO_OPTIONS
    bounce_local_part: str = ""
    is_reminder: bool = False

    @property
    def tries(self) -> int:
        """How many claims there were before."""
        return self.attempt - 1


class MailStorage(Protocol):
    """Gives the e-mails of invitations to workers."""

    async def claim_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[Delivery]:
        """Claims e-mails that are due and not under a live lease, oldest first.

        New ones come before those that are tried again, unless `retries_first`.
        One that is due, or leased, for longer than `max_due_ahead` from now was dated by a wrong
        clock, and counts as due once nothing else is, rather than wait until the wrong date.
        Operations whose invitation has ended meanwhile end without an e-mail. While an operator
        holds e-mails there are none.
        """
        ...

    async def finish_delivery(self, delivery: Delivery, now: datetime) -> bool:
        """Records that the e-mail went out: the operation ends with the customer. False: overtaken."""
        ...

    async def fail_delivery(self, delivery: Delivery, failure: Failure, now: datetime) -> bool:
        """Ends the operation with `failure`, and removes the customer and the invitation it made.

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
