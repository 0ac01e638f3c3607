"""Recording invitations."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from server.domain.errors import BillingError, Reason
from server.domain.invitations import NewInvitation
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage.counts import Counts
from server.storage.expiry import expire_by_id
from server.storage.idempotency import Keys, KeyUse
from server.storage.operations import by_id
from server.storage.rows import (
    INSERT_CUSTOMERS,
    INSERT_INVITATIONS,
    INSERT_OPERATIONS,
    customer_row,
    invitation_row,
    microseconds,
    operation_row,
)
from server.storage.schema import invitations
from server.storage.statements import IDS, Statement, Transaction

_OPEN = Statement(
    select(
        invitations.c.open_key,
        invitations.c.id,
        invitations.c.customer_id,
        invitations.c.operation_id,
        invitations.c.expires_at,
    ).where(invitations.c.open_key.in_(IDS))
)
_OPEN_KEY = operator.itemgetter(3)


class Creation(NamedTuple):
    """What one Invite asks for."""

    new: NewInvitation
    address_key: str
    use: KeyUse | None
    limits: Limits


def create(transaction: Transaction, batch: Sequence[Creation]) -> list[Operation | Exception]:
    """Records invitations; see Storage.create_invitation."""
    open_ones = {
        row[0]: row[1:]
        for row in transaction.fetch(_OPEN, list({each.new.invitation.open_key for each in batch}))
    }
    # After the open ones: what another transaction commits between the two is then seen as the
    # repeat that it is, not as an invitation in the way.
    keys = Keys(transaction, (each.use for each in batch))
    resellers = [each.new.invitation.reseller_id for each in batch]
    counts = Counts(
        transaction,
        batch[0].limits,
        microseconds(batch[0].new.invitation.created_at),
        zip(resellers, (each.address_key for each in batch), strict=True),
        resellers,
    )
    outcomes: list[Operation | Exception] = []
    rows: list[tuple[Any, ...]] = []
    lapsed: dict[str, int] = {}
    replayed: dict[int, str] = {}
    for new, address_key, use, _ in batch:
        operation, invitation = new.operation, new.invitation
        try:
            known = keys.replayed(use)
        except BillingError as error:
            outcomes.append(error)
            continue
        if known:
            replayed[len(outcomes)] = known
            outcomes.append(operation)
            continue
        first = open_ones.get(invitation.open_key)
        now = microseconds(invitation.created_at)
        if first:
            first_id, customer_id, operation_id, expires_at = first
            if expires_at > now:
                outcomes.append(_already_open(first_id, customer_id, operation_id))
                continue
        try:
            due_at = counts.invite(invitation.reseller_id, address_key, now)
        except BillingError as error:
            outcomes.append(error)
            continue
        if first:
            lapsed[first[0]] = now
        expires_at = microseconds(invitation.expires_at)
        open_ones[invitation.open_key] = (
            invitation.id,
            invitation.customer_id,
            operation.id,
            expires_at,
        )
        rows.append((*_rows(new, address_key, due_at), invitation.open_key))
        keys.record(use, operation.id)
        outcomes.append(operation)
    if rows:
        expire_by_id(transaction, list(lapsed), max(lapsed.values(), default=0))
        rows.sort(key=_OPEN_KEY)  # in one order, so that two batches don't wait for each other
        of_operations, of_customers, of_invitations, _ = zip(*rows, strict=True)
        transaction.insert(INSERT_OPERATIONS, of_operations)
        transaction.insert(INSERT_CUSTOMERS, of_customers)
        transaction.insert(INSERT_INVITATIONS, of_invitations)
        keys.write()
        transaction.work = True
    if replayed:
        found = by_id(transaction, list(set(replayed.values())))
        for index, operation_id in replayed.items():
            outcomes[index] = found[operation_id]
    return outcomes


def _rows(new: NewInvitation, address_key: str, due_at: int) -> tuple[tuple[Any, ...], ...]:
    """Returns the rows of operation, customer and invitation."""
    operation, customer, invitation = new.operation, new.customer, new.invitation
    return (
        operation_row(operation, invitation.id, due_at=due_at),
        customer_row(customer),
        invitation_row(invitation, address_key),
    )


def _already_open(invitation_id: str, customer_id: str, operation_id: str) -> BillingError:
    return BillingError(
        Reason.INVITATION_OPEN,
        "You have an open invitation for the same address and tax number already; the error's "
        "metadata names it.",
        metadata={
            "operationId": operation_id,
            "customerId": customer_id,
            "invitationId": invitation_id,
        },
    )
