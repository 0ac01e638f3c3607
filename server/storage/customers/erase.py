"""Erasing whom a customer is: names, addresses and what was written to it; what happened stays.

Blanked are the customer's row, all events of it, and what its idempotency keys are compared by. What
is answered for its operations, and what webhooks are sent, is read from there.
"""

import os
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, or_, select, update

from server.domain.access import AuditRecord, operator
from server.domain.addresses import address_key
from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.events import EventType
from server.domain.invitations import mail_under_way
from server.storage.access.changes import record
from server.storage.customer_rows import CustomerPart
from server.storage.customers.deletion import cancel_invitation
from server.storage.customers.update import About, lock_by_number
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import blank, customer_json, email_shown
from server.storage.invitation_options import options_json, read_options
from server.storage.invitations.addresses import address_hash
from server.storage.invitations.correct import is_mail_waiting
from server.storage.resellers import reseller_id
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    CUSTOMER_TARGET,
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    NO_INVITATION,
    OPERATION_TARGET,
    EventTypeCode,
)
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DisplayName,
    Email,
    EventJson,
    EventNumber,
    Fingerprint,
    PersonJson,
    ReminderRow,
    ResellerNumber,
    customers,
    events,
    idempotency_keys,
    link_tokens,
    operations,
    reminders,
)
from server.storage.sql.json_texts import from_json
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, micros
from server.storage.sql.transactions import one_by_one
from server.storage.suppressions import hide_address

_NO_NAME, _NO_PERSON = DisplayName(""), PersonJson("{}")
_INACTIVE = CUSTOMER_STATE_CODES[CustomerState.INACTIVE]
_ERASED = EVENT_TYPE_CODES[EventType.CUSTOMER_ERASED]


class _Number(NamedTuple):
    n: CustomerNumber


class _Event(NamedTuple):
    reseller: ResellerNumber
    number: EventNumber
    type: EventTypeCode
    data: EventJson


_c, _e, _o = customers.c, events.c, operations.c
# A customer that could not be invited, or was removed after its deletion, is known by what tells of it:
# its operations, or else its events, whose data begins with its ID.
_LOOK_UPS = (
    Query(_Number, select(_c.n).where(_c.id.in_(IDS)), "start"),
    Query(_Number, select(_o.customer).where(_o.customer_id.in_(IDS)).limit(1), "start"),
    Query(
        _Number,
        select(_e.customer)
        .where(_e.customer.is_not(None), func.substr(_e.data, 1, 23) == bindparam("start"))
        .limit(1),
        "start",
    ),
)
_EVENTS = Query(
    _Event, select(*columns(events, _Event)).where(_e.customer.in_(IDS)).order_by(_e.number)
)
_BLANK_EVENT = Statement(
    update(events)
    .where(_e.number.in_(IDS), _e.reseller == bindparam("of"))
    .values(data=bindparam("to")),
    *("of", "to"),
)
# Everything that may tell who the customer is.
BLANKED = (
    *("name", "person", "email", "address_key", "options", "external_id", "labels"),
    *("has_links", "modified_at"),
)
_BLANK = Statement(
    update(customers).where(_c.n.in_(IDS)).values({name: bindparam(name) for name in BLANKED}),
    *BLANKED,
)
_REMINDER = Query(ReminderRow, select(*reminders.c).where(reminders.c.n.in_(IDS)).with_for_update())
_FORGET_REMINDER = Statement(delete(reminders).where(reminders.c.n.in_(IDS)))
_DROP_LINKS = Statement(delete(link_tokens).where(link_tokens.c.customer.in_(IDS)))
_OPERATIONS = Query(
    _Number,
    select(_o.n).where(or_(_o.n.in_(IDS), and_(_o.customer.in_(IDS), _o.id.is_not(None)))),
)
# Keys go on standing for what they made; what was asked for is compared with nothing any more.
_BLANK_KEYS = (
    Statement(
        update(operations)
        .where(_o.n.in_(IDS), _o.fingerprint.is_not(None))
        .values(fingerprint=bindparam("noise")),
        "noise",
    ),
    Statement(
        update(idempotency_keys)
        .where(
            idempotency_keys.c.target_kind == OPERATION_TARGET, idempotency_keys.c.target.in_(IDS)
        )
        .values(fingerprint=bindparam("noise")),
        "noise",
    ),
)
_BLANK_CUSTOMER_KEYS = Statement(
    update(idempotency_keys)
    .where(idempotency_keys.c.target_kind == CUSTOMER_TARGET, idempotency_keys.c.target.in_(IDS))
    .values(fingerprint=bindparam("noise")),
    "noise",
)


class Erasure(NamedTuple):
    """Which customer to erase, by its ID and number, when, and who asks for it."""

    customer_id: str
    number: CustomerNumber
    now: datetime
    by: str


@one_by_one
def find_customer_number(transaction: Transaction, customer_id: str) -> CustomerNumber | None:
    """Returns the number of a customer, also of one that has been removed; None: there was none.

    The last query reads all events.
    """
    for query in _LOOK_UPS:
        found = transaction.fetch(query, [customer_id], start=f'["{customer_id}"')
        if found:
            return found[0].n
    return None


@one_by_one
def erase_customer(transaction: Transaction, wanted: Erasure) -> bool:
    """Erases a customer; see Administration.erase_customer."""
    if transaction.is_sqlite:
        transaction.overwrite_what_is_deleted()
    at, actor = micros(wanted.now), operator(wanted.by)
    _require_no_reminder(transaction, wanted, at)
    rows = lock_by_number(transaction, wanted.number)
    logged = transaction.fetch(_EVENTS, [wanted.number])
    if _is_erased(rows, logged):
        return False
    about = About("", wanted.customer_id, "", at, actor, None)
    row = _end_invitation(transaction, rows[0], about) if rows else None
    transaction.run(_FORGET_REMINDER, [wanted.number])
    emails = {email for each in logged if (email := email_shown(EVENT_TYPES[each.type], each.data))}
    if row and row.email:
        emails.add(row.email)
    reseller = row.reseller if row else logged[0].reseller
    _blank_events(transaction, wanted.number, logged)
    shown = (
        _blank_row(transaction, row, at)
        if row
        else _removed_part(wanted.customer_id, logged[0], at)
    )
    numbers = [each.n for each in transaction.fetch(_OPERATIONS, [wanted.number])]
    for statement in _BLANK_KEYS if numbers else ():
        transaction.run(statement, numbers, noise=Fingerprint(os.urandom(32)))
    transaction.run(_BLANK_CUSTOMER_KEYS, [wanted.number], noise=Fingerprint(os.urandom(32)))
    for email in sorted(emails):
        hide_address(transaction, email, reseller)
    event = NewEvent(
        *(reseller, EventType.CUSTOMER_ERASED, shown.modified_at, actor),
        *(customer_json(shown), wanted.number),
    )
    log(transaction, event)
    entry = AuditRecord(
        *(wanted.now, wanted.by, "customers.erase", wanted.customer_id),
        reseller_id(transaction, reseller),
    )
    record(transaction, [entry])
    return True


def _require_no_reminder(transaction: Transaction, wanted: Erasure, at: Micros) -> None:
    """Raises MAIL_UNDER_WAY while one is being sent."""
    for row in transaction.fetch(_REMINDER, [wanted.number]):
        if row.claimed and row.due_at is not None and row.due_at > at:
            raise mail_under_way("")


def _is_erased(rows: list[CustomerRow], logged: list[_Event]) -> bool:
    if rows:
        row = rows[0]
        return not (row.name or row.email or row.external_id or row.labels) and (
            row.person == _NO_PERSON
        )
    return not logged or any(each.type == _ERASED for each in logged)


def _end_invitation(transaction: Transaction, row: CustomerRow, about: About) -> CustomerRow:
    """Revokes a pending invitation; raises MAIL_UNDER_WAY while an e-mail is being sent."""
    if row.invitation == NO_INVITATION or row.latest is None:
        return row
    is_mail_waiting(transaction, row.latest)  # locks the operation, or raises
    return cancel_invitation(transaction, row, about)


def _blank_events(transaction: Transaction, number: CustomerNumber, logged: list[_Event]) -> None:
    transaction.run_each(
        _BLANK_EVENT,
        [
            (each.number, {"of": each.reseller, "to": blank(EVENT_TYPES[each.type], each.data)})
            for each in logged
        ],
    )
    # What this transaction is about to write, too.
    transaction.events[:] = [
        each._replace(data=blank(each.type, each.data)) if each.customer == number else each
        for each in transaction.events
    ]


def _blank_row(transaction: Transaction, row: CustomerRow, at: Micros) -> CustomerRow:
    """Blanks a customer whose invitation, if any, has ended."""
    is_invited = row.invitation != NO_INVITATION
    options = read_options(row.options)
    row = row._replace(
        name=_NO_NAME,
        person=_NO_PERSON,
        email=Email("") if is_invited else None,
        address_key=address_hash(address_key("")) if is_invited else None,
        options=options_json(options.without_words()),
        external_id=None,
        labels=None,
        has_links=not is_invited,
        modified_at=max(at, Micros(row.modified_at + 1)),
    )
    transaction.run(_DROP_LINKS, [row.n])
    transaction.run(_BLANK, [row.n], **{name: getattr(row, name) for name in BLANKED})
    return row


def _removed_part(customer_id: str, first: _Event, at: Micros) -> CustomerPart:
    """Returns what is shown of a customer whose row has been removed."""
    is_customers = EVENT_TYPES[first.type].startswith("customer.")
    created_at = from_json(first.data)[5 if is_customers else 3]
    values: dict[str, Any] = dict.fromkeys(CustomerPart._fields)
    values |= {"id": CustomerId(customer_id), "state": _INACTIVE, "created_at": created_at}
    values |= {
        "name": _NO_NAME,
        "person": _NO_PERSON,
        "modified_at": max(at, Micros(created_at + 1)),
    }
    return CustomerPart(**values)


def unknown_customer(customer_id: str) -> BillingError:
    """Returns NOT_FOUND for a customer of which there is neither record nor event."""
    return BillingError(
        Reason.NOT_FOUND,
        f"there is no customer {customer_id}, and no event tells of one; see `invitations find`",
    )
