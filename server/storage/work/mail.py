"""E-mails of invitations to send: claimed by workers, and what became of them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, case, delete, select, update

from server.domain import ids
from server.domain.bounces import bounce_local_part
from server.domain.errors import Reason
from server.domain.invitations import (
    InvitationState,
    link_token_hash,
    new_link_token,
    state_at,
    unsent,
)
from server.domain.mail import DeliveryState
from server.domain.operations import CANCELLED, Deferral, Failure
from server.storage.interface.work import Delivery
from server.storage.invitation_options import read_options
from server.storage.invitations.links import INSERT_LINKS, link_hash, link_number
from server.storage.operations.rows import deferral_json
from server.storage.operations.transitions import Ending, end, lock_by_number
from server.storage.reseller_details import read_details
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import (
    DELIVERY_STATE_CODES,
    INVITATION_STATES,
    PENDING,
    DeliveryStateCode,
    InvitationStateCode,
)
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    DetailsJson,
    DisplayName,
    Email,
    InvitationId,
    LinkRow,
    OperationId,
    OperationNumber,
    OptionsJson,
    ResellerId,
    ResellerNumber,
    customers,
    link_tokens,
    operations,
    resellers,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, from_micros
from server.storage.work.due import Claim, DueWork, holds
from server.storage.work.held_mail import hold_found
from server.storage.work.mail_hold import mail_is_held


class _DueMail(NamedTuple):
    """An e-mail that is due, with all that is written in it."""

    n: OperationNumber
    id: OperationId | None
    attempts: Count
    cancel_requested: bool
    customer: CustomerNumber
    customer_id: CustomerId
    email: Email
    customer_name: DisplayName
    reseller_name: DisplayName
    contact: str | None
    contact_details: DetailsJson | None
    expires_at: Micros
    requested_at: Micros
    invitation: InvitationStateCode
    invitation_id: InvitationId | None
    made_by: OperationId | None
    reseller: ResellerNumber
    reseller_id: ResellerId
    origin: str | None
    options: OptionsJson | None
    is_held: bool
    delivery: DeliveryStateCode | None


_MAIL = DueWork(
    operations,
    _DueMail,
    select(
        operations.c.n,
        operations.c.id,
        operations.c.attempts,
        operations.c.cancel_requested,
        operations.c.customer,
        customers.c.id,
        customers.c.email,
        customers.c.name,
        resellers.c.name,
        resellers.c.contact,
        resellers.c.contact_details,
        customers.c.expires_at,
        operations.c.created_at,
        customers.c.invitation,
        customers.c.invitation_id,
        customers.c.operation_id,
        operations.c.reseller,
        resellers.c.id,
        operations.c.origin,
        customers.c.options,
        IS_HELD,
        customers.c.delivery,
    )
    .join_from(operations, customers, customers.c.n == operations.c.customer)
    .join(resellers, resellers.c.n == operations.c.reseller),
)
_DROP_LINKS = Statement(delete(link_tokens).where(link_tokens.c.n.in_(IDS)))


class _Invited(NamedTuple):
    n: CustomerNumber
    invitation: InvitationStateCode


_STATES = Query(_Invited, select(*columns(customers, _Invited)).where(customers.c.n.in_(IDS)))


_DEFER = Statement(
    update(operations)
    .where(operations.c.n.in_(IDS))
    .values(
        deferral=bindparam("deferral"),
        # Clocks differ.
        modified_at=case(
            (operations.c.modified_at > bindparam("now"), operations.c.modified_at),
            else_=bindparam("now"),
        ),
    ),
    "deferral",
    "now",
)


class Outcome(NamedTuple):
    """A claim's end: success, failure, or (with neither) giving it up until `retry_at`.

    `deferral` tells of the attempt that failed, if there was one, and `dropped_link` is the link in
    its e-mail, by its hash, where nothing of that has left.
    """

    operation_id: str
    number: int
    attempt: int
    now: Micros
    failure: Failure | None = None
    retry_at: Micros | None = None
    deferral: Deferral | None = None
    dropped_link: bytes | None = None


_SUPPRESSED_CODE = DELIVERY_STATE_CODES[DeliveryState.SUPPRESSED]
_SUPPRESSED = Failure(
    Reason.ADDRESS_SUPPRESSED,
    "Nothing is sent to this address any more: an e-mail to it came back for good, or its owner "
    "asked for that.",
    {},
)


def claim_mail(transaction: Transaction, batch: Sequence[Claim]) -> list[list[Delivery]]:
    """Claims for several workers; see MailStorage.claim_deliveries."""
    if mail_is_held(transaction):
        return [[] for _ in batch]
    return [_claim(transaction, wanted) for wanted in batch]


def _claim(transaction: Transaction, wanted: Claim) -> list[Delivery]:
    rows = _MAIL.find(transaction, wanted)
    unwanted = {row.n: failure for row in rows if (failure := _unwanted(row, wanted.now))}
    if unwanted:
        locked = lock_by_number(transaction, list(unwanted))
        end(transaction, [Ending(row, unwanted[row.n], wanted.now) for row in locked.values()])
        rows = [row for row in rows if row.n not in unwanted]
    held = [row for row in rows if row.is_held]
    if held:
        hold_found(transaction, {row.n: row.reseller for row in held})
        rows = [row for row in rows if not row.is_held]
    deliveries = []
    links = []
    for row in rows:
        token = new_link_token()
        token_hash = link_token_hash(token)
        number = link_number(token_hash)
        links.append(LinkRow(number, link_hash(token_hash), row.customer, row.n, wanted.now))
        verp = bounce_local_part(number, token_hash)
        deliveries.append(_delivery(row, token, verp, wanted.lease_until))
    _MAIL.lease(transaction, [row.n for row in rows], wanted.lease_until)
    transaction.insert(INSERT_LINKS, links)
    return deliveries


def _delivery(row: _DueMail, token: str, verp: str, lease_until: Micros) -> Delivery:
    tail = row.customer_id[3:]
    made_by = row.made_by or ids.OPERATION + tail
    return Delivery(
        operation_id=row.id or made_by,
        attempt=row.attempts + 1,
        lease_until=from_micros(lease_until),
        cancel_requested=False,
        invitation_id=row.invitation_id or ids.INVITATION + tail,
        email=row.email,
        customer_name=row.customer_name,
        reseller_name=row.reseller_name,
        expires_at=from_micros(row.expires_at),
        link_token=token,
        first_operation_id=made_by,
        requested_at=from_micros(row.requested_at),
        number=row.n,
        reseller_contact=row.contact,
        customer_id=row.customer_id,
        reseller_id=row.reseller_id,
        origin=row.origin,
        reseller_details=read_details(row.contact_details),
        options=read_options(row.options),
        bounce_local_part=verp,
    )


def _unwanted(row: _DueMail, now: Micros) -> Failure | None:
    """Returns why an e-mail is not to be sent any more, None if it is."""
    recorded = INVITATION_STATES[row.invitation]
    state = state_at(recorded, from_micros(row.expires_at), from_micros(now))
    if state is not InvitationState.PENDING:
        return unsent(state)
    if row.cancel_requested:
        return CANCELLED
    return _SUPPRESSED if row.delivery == _SUPPRESSED_CODE else None


def finish_mail(transaction: Transaction, batch: Sequence[Outcome]) -> list[bool]:
    """Records what became of claims; False for those that a later attempt has overtaken."""
    rows = lock_by_number(transaction, [outcome.number for outcome in batch])
    answers = []
    endings: list[Ending] = []
    put_off: list[tuple[Outcome, CustomerNumber]] = []
    for outcome in batch:
        row = rows.get(outcome.number)
        if row is None or not holds(row, outcome.attempt) or row.public_id != outcome.operation_id:
            answers.append(False)
            continue
        answers.append(True)
        del rows[outcome.number]  # what comes next for the same claim is late
        was_not_sent = outcome.failure or outcome.retry_at is not None
        if was_not_sent and row.cancel_requested:
            endings.append(Ending(row, CANCELLED, outcome.now))
        elif outcome.retry_at is not None:
            put_off.append((outcome, row.customer))
        else:
            endings.append(Ending(row, outcome.failure, outcome.now))
    _put_off(transaction, put_off)
    end(transaction, endings)
    return answers


def _put_off(transaction: Transaction, given_up: Sequence[tuple[Outcome, CustomerNumber]]) -> None:
    if not given_up:
        return
    transaction.has_work = True
    wanted = [customer for _, customer in given_up]
    states = {row.n: row.invitation for row in transaction.fetch(_STATES, wanted)}
    for outcome, customer in given_up:
        # What has been revoked meanwhile is due at once, to be ended by whoever claims it.
        is_wanted = states.get(customer, PENDING) == PENDING
        due_at = outcome.retry_at if is_wanted else None
        _MAIL.put_off(transaction, outcome.number, due_at or outcome.now)
        if outcome.deferral:
            deferral = deferral_json(outcome.deferral)
            transaction.run(_DEFER, [outcome.number], deferral=deferral, now=outcome.now)
        if outcome.dropped_link:
            transaction.run(_DROP_LINKS, [link_number(outcome.dropped_link)])


def next_mail_due(transaction: Transaction, batch: Sequence[None]) -> list[Micros | None]:
    """Returns when the next e-mail is due, for each who asks; None: there is none, or all are held."""
    if mail_is_held(transaction):
        return [None] * len(batch)
    return [_MAIL.next_due(transaction)] * len(batch)
