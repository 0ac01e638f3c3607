"""What those who run the service ask of the storage about customers and e-mails.

`by` is who asks; each of these is recorded with who asked, in the audit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from server.domain.invitations import Invitation
from server.domain.operations import Deferral
from server.domain.suppressions import SuppressionReason


class FoundInvitation(NamedTuple):
    """An invitation, as recorded, and whom it is for. `held`: its reseller is suspended or removed."""

    invitation: Invitation
    customer_name: str
    held: bool


class Found(NamedTuple):
    """What was looked for: invitations, newest first, and why nothing is sent to the address, if so."""

    invitations: Sequence[FoundInvitation]
    suppressed: SuppressionReason | None = None


class WaitingMail(NamedTuple):
    """An e-mail that has not gone out.

    `due_at` is when it is tried next, None while its reseller is held; `claimed`: a worker is at it, or
    was until a lease that ends then. `domain` is the recipient's.
    """

    operation_id: str
    invitation_id: str
    reseller_id: str
    domain: str
    requested_at: datetime
    attempts: int
    due_at: datetime | None
    claimed: bool
    deferral: Deferral | None


class OperatorStorage(Protocol):
    """Helps a customer on the telephone."""

    async def find_by_address(self, email: str, now: datetime, by: str) -> Found:
        """Returns the latest 100 invitations to an address in normal form, of all resellers."""
        ...

    async def find_by_id(self, id_: str, now: datetime, by: str) -> Found:
        """Returns what an ID is of: an invitation's, its customer's, billing account's or operation's."""
        ...

    async def list_waiting_mail(self, limit: int, now: datetime, by: str) -> Sequence[WaitingMail]:
        """Returns e-mails that have not gone out: those tried before first, then the oldest first."""
        ...

    async def retry_mail(self, ids: Sequence[str], now: datetime, by: str) -> int:
        """Has e-mails that wait for their next try be tried now; returns how many.

        `ids` are those of operations or invitations; none: all that wait for their next try.
        Raises NOT_FOUND, before anything is changed, for an ID that names neither.
        """
        ...

    async def erase_customer(self, customer_id: str, now: datetime, by: str) -> bool:
        """Blanks who a customer is, in its record and in all events of it; ends an open invitation.

        False: it is erased already. Raises NOT_FOUND; MAIL_UNDER_WAY while an e-mail is being sent.
        """
        ...
