"""Correcting the address of an invitation, which sends it anew."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.invitations import mail_under_way
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage import numbers
from server.storage.customer_rows import InvitationPart, tax_number
from server.storage.invitations.addresses import address_hash, open_slot
from server.storage.invitations.create import free_slot
from server.storage.keys import KeyedRequest
from server.storage.operations.read import find_by_number
from server.storage.operations.rows import INSERT_OTHERS, operation_row
from server.storage.resellers import reseller_id
from server.storage.schema.tables import (
    CustomerNumber,
    Email,
    OperationNumber,
    PersonJson,
    customers,
    link_tokens,
    operations,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, micros


class Correction(NamedTuple):
    """Another address for an invitation, to be sent to by the operation, at whose time it happens.

    `email` is in normal form.
    """

    invitation_id: str
    email: str
    operation: Operation
    expires_at: datetime
    actor: Actor
    use: KeyedRequest | None
    limits: Limits


class _Person(NamedTuple):
    n: CustomerNumber
    person: PersonJson


class _Waiting(NamedTuple):
    n: OperationNumber
    claimed: bool


_PERSONS = Query(_Person, select(customers.c.n, customers.c.person).where(customers.c.n.in_(IDS)))
# Without waiting for a worker that has claimed it, which locks the customer next.
_WAITING = Query(
    _Waiting,
    select(operations.c.n, operations.c.claimed)
    .where(operations.c.n.in_(IDS), ~operations.c.done)
    .with_for_update(skip_locked=True),
)
_UNDONE = Query(
    _Waiting,
    select(operations.c.n, operations.c.claimed).where(operations.c.n.in_(IDS), ~operations.c.done),
)
_SEND_NOW = Statement(
    update(operations).where(operations.c.n.in_(IDS)).values(due_at=bindparam("at"), deferral=None),
    "at",
)
# The owner of the former address can still stop e-mails to it, by the links that were sent there.
_KEEP_ADDRESS = Statement(
    update(link_tokens)
    .where(link_tokens.c.customer.in_(IDS), link_tokens.c.email.is_(None))
    .values(email=bindparam("was")),
    "was",
)
_DROP_LINKS = Statement(delete(link_tokens).where(link_tokens.c.customer.in_(IDS)))
_CORRECT = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(
        email=bindparam("email"),
        address_key=bindparam("address_key"),
        slot=bindparam("slot"),
        expires_at=bindparam("until"),
        modified_at=bindparam("modified_at"),
        latest=bindparam("latest"),
        resent_at=bindparam("resent_at"),
        # Nothing is given back if the new e-mail fails: the links were sent to somebody else.
        previous_latest=None,
        previous_resent_at=None,
        previous_expires_at=None,
        delivery=bindparam("delivery"),
        sent=None,
    ),
    *("email", "address_key", "slot", "until", "modified_at", "latest", "resent_at", "delivery"),
)


def correct(
    transaction: Transaction,
    row: InvitationPart,
    wanted: Correction,
    count: Callable[[bool], Micros | None],
) -> tuple[InvitationPart, str | None]:
    """Gives a locked, pending invitation another address, and has it sent there.

    Where its e-mail waits to be sent, that one goes to the new address at once; otherwise there is
    a new operation, whose ID is returned beside the row. Links sent before hold no longer.
    `count` is called once nothing else speaks against it, with whether an e-mail waits: it returns
    when to send, None for no e-mail, or refuses.
    Raises INVITATION_OPEN; MAIL_UNDER_WAY while its e-mail is on its way.
    """
    now = micros(wanted.operation.created_at)
    key = address_key(wanted.email)
    ((_, person),) = transaction.fetch(_PERSONS, [row.n])
    tin = tax_number(person)
    reseller = reseller_id(transaction, row.reseller)
    waiting = is_mail_waiting(transaction, row.latest)
    place = address_hash(key), open_slot(reseller, tin)
    slot = free_slot(transaction, row, key, place, tin, now)
    due_at = count(waiting)
    after = row._replace(
        email=Email(wanted.email),
        address_key=place[0],
        expires_at=micros(wanted.expires_at),
        modified_at=max(now, Micros(row.modified_at + 1)),
        delivery=row.delivery if wanted.operation.done else None,
        sent=None,
    )
    operation_id = None
    if waiting:
        transaction.run(_DROP_LINKS, [row.n])
        transaction.run(_SEND_NOW, [row.latest], at=due_at)
    else:
        transaction.run(_KEEP_ADDRESS, [row.n], was=row.email)
        (number,) = numbers.draw_numbers(transaction, 1)
        made = operation_row(
            *(wanted.operation, number, row.reseller, row.n, (None, None)),
            due_at=due_at,
            with_id=True,
        )
        transaction.insert(INSERT_OTHERS, [made])
        after = after._replace(latest=OperationNumber(number), resent_at=now)
        operation_id = wanted.operation.id
    transaction.run(
        _CORRECT,
        [row.n],
        email=after.email,
        address_key=after.address_key,
        slot=slot,
        until=after.expires_at,
        modified_at=after.modified_at,
        latest=after.latest,
        resent_at=after.resent_at,
        delivery=after.delivery,
    )
    transaction.has_work |= due_at is not None
    return after, operation_id


def is_mail_waiting(transaction: Transaction, latest: OperationNumber) -> bool:
    """Tells whether an invitation's latest e-mail waits to be sent, and locks its operation.

    Raises MAIL_UNDER_WAY.
    """
    waiting = transaction.fetch(_WAITING, [latest])
    if any(each.claimed for each in waiting) or (
        not waiting and transaction.fetch(_UNDONE, [latest])
    ):
        under_way = find_by_number(transaction, latest)
        raise mail_under_way(under_way.id if under_way else "")
    return bool(waiting)
