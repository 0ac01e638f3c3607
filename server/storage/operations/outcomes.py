"""How invitations' e-mails stand once their operations have ended."""

from collections.abc import Sequence

from sqlalchemy import bindparam, update

from server.domain.errors import Reason
from server.domain.mail import DeliveryError, DeliveryState
from server.domain.operations import Failure
from server.storage.customer_rows import InvitationPart, sent_json
from server.storage.operations.rows import OperationPart
from server.storage.schema.codes import DELIVERY_STATE_CODES
from server.storage.schema.tables import CustomerNumber, customers
from server.storage.sql.statements import IDS, Statement, Transaction
from server.storage.sql.times import Micros, from_micros

_SENT = Statement(
    update(customers).where(customers.c.n.in_(IDS)).values(delivery=None, sent=bindparam("sent")),
    "sent",
)
_BOUNCED = DELIVERY_STATE_CODES[DeliveryState.BOUNCED]
_REFUSED = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(delivery=_BOUNCED, sent=bindparam("sent")),
    "sent",
)

# Locked invitations by customer; what is recorded of one is put in its place.
Invited = dict[CustomerNumber, InvitationPart]


def delivery_problem(failure: Failure) -> DeliveryError:
    """Returns what a failure of an operation says of its e-mail."""
    code = failure.metadata.get("smtpCode")
    return DeliveryError(
        failure.message, int(code) if code else None, failure.metadata.get("smtpStatus")
    )


def record_sent(
    transaction: Transaction, invited: Invited, ended: Sequence[tuple[OperationPart, Micros]]
) -> None:
    """Records of invitations whose e-mails have gone out that they have."""
    sent = []
    for row, now in ended:
        customer = invited.get(row.customer)
        if customer:
            record = sent_json(row.attempts, from_micros(max(now, row.created_at)))
            sent.append((customer.n, {"sent": record}))
            invited[customer.n] = customer._replace(delivery=None, sent=record)
    transaction.run_each(_SENT, sent)


def record_refused(
    transaction: Transaction, invited: Invited, failed: Sequence[tuple[OperationPart, Failure]]
) -> None:
    """Records of e-mails that failed at an address that was corrected that they came back.

    Such a resend is not undone: it is the invitation's latest still.
    """
    for row, failure in failed:
        customer = invited.get(row.customer)
        if not customer or customer.latest != row.n:
            continue
        if failure.reason is Reason.OPERATION_CANCELLED:
            continue
        sent = sent_json(row.attempts, None, delivery_problem(failure))
        transaction.run(_REFUSED, [customer.n], sent=sent)
        invited[customer.n] = customer._replace(delivery=_BOUNCED, sent=sent)
