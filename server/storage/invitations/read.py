"""Reading invitations: by link, and by ID."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import (
    and_,
    select,
)

from server.domain import ids
from server.domain.invitations import Invitation, InvitationView
from server.domain.mail import DeliveryState, EmailDelivery, deferred
from server.storage.customer_rows import INVITATION_PART, InvitationPart, invitation
from server.storage.invitations.links import link_number
from server.storage.operations.rows import deferral
from server.storage.reseller_details import is_listed, read_details
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import (
    NO_INVITATION,
    PENDING,
)
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    DeferralJson,
    DetailsJson,
    DisplayName,
    Email,
    InvitationId,
    LinkHash,
    OperationNumber,
    OriginsJson,
    customers,
    link_tokens,
    operations,
    resellers,
)
from server.storage.sql.statements import IDS, Query, Transaction, columns


class Link(NamedTuple):
    """A link, and whose it is; `email` is as in its row."""

    hash: LinkHash
    customer: CustomerNumber
    operation: OperationNumber
    email: Email | None


class _Names(NamedTuple):
    """Who invites whom."""

    n: CustomerNumber
    reseller_name: DisplayName
    name: DisplayName
    is_held: bool
    contact: str | None
    contact_details: DetailsJson | None
    return_origins: OriginsJson | None


class _Number(NamedTuple):
    """The number of a row, and the IDs that it is found by."""

    n: CustomerNumber
    id: CustomerId
    invitation_id: InvitationId | None


_LINKS = Query(Link, select(*columns(link_tokens, Link)).where(link_tokens.c.n.in_(IDS)))
_BY_NUMBER = Query(InvitationPart, select(*INVITATION_PART).where(customers.c.n.in_(IDS)))
_NAMES = Query(
    _Names,
    select(
        *(customers.c.n, resellers.c.name, customers.c.name, IS_HELD),
        *(resellers.c.contact, resellers.c.contact_details, resellers.c.return_origins),
    )
    .join_from(customers, resellers, resellers.c.n == customers.c.reseller)
    .where(customers.c.n.in_(IDS)),
)
_is_invited = and_(customers.c.invitation != NO_INVITATION, customers.c.invitation_id.is_(None))
# Whose ID ends like the customer's: all but those of before version 0015.
_BY_CUSTOMER_ID = Query(
    InvitationPart, select(*INVITATION_PART).where(customers.c.id.in_(IDS), _is_invited)
)
_OF_CUSTOMERS = Query(
    InvitationPart,
    select(*INVITATION_PART).where(
        customers.c.id.in_(IDS), customers.c.invitation != NO_INVITATION
    ),
)
_BY_ID = Query(InvitationPart, select(*INVITATION_PART).where(customers.c.invitation_id.in_(IDS)))


def find_links(transaction: Transaction, token_hashes: Sequence[bytes]) -> dict[bytes, Link]:
    """Returns links by the hashes of their secrets."""
    wanted = list({link_number(token_hash) for token_hash in token_hashes})
    return {link.hash: link for link in transaction.fetch(_LINKS, wanted)} if wanted else {}


def look_up_invitations(
    transaction: Transaction, batch: Sequence[bytes]
) -> list[InvitationView | None]:
    """Returns what links lead to; see InvitationStorage.look_up_invitation."""
    links = find_links(transaction, batch)
    wanted = list({link.customer for link in links.values()})
    if not wanted:
        return [None] * len(batch)
    rows = {row.n: row for row in transaction.fetch(_BY_NUMBER, wanted)}
    names = {row.n: row for row in transaction.fetch(_NAMES, wanted)}
    outcomes: list[InvitationView | None] = []
    for token_hash in batch:
        link = links.get(token_hash)
        row = rows.get(link.customer) if link else None
        name = names.get(link.customer) if link else None
        view = None
        if row and link and name:
            found = invitation(transaction, row)
            found = found._replace(email=link.email or found.email)
            uri = found.options.return_uri
            view = InvitationView(
                found,
                name.reseller_name,
                name.name,
                replaced=row.latest != link.operation,
                held=bool(name.is_held),
                contact=name.contact,
                details=read_details(name.contact_details),
                return_uri=uri if is_listed(uri, name.return_origins) else "",
            )
        outcomes.append(view)
    return outcomes


def find_invitations(transaction: Transaction, wanted: Sequence[str]) -> dict[str, InvitationPart]:
    """Returns rows by the invitations' IDs."""
    likely = [ids.CUSTOMER + id_[3:] for id_ in set(wanted) if id_.startswith(ids.INVITATION)]
    rows = transaction.fetch(_BY_CUSTOMER_ID, likely) if likely else []
    found = {row.public_id: row for row in rows}
    others = [id_ for id_ in set(wanted) if id_ not in found]
    if others:
        found |= {row.public_id: row for row in transaction.fetch(_BY_ID, others)}
    return found


def get_invitations(transaction: Transaction, wanted: Sequence[str]) -> list[Invitation | None]:
    """Returns invitations; see InvitationStorage.get_invitation."""
    found = find_invitations(transaction, wanted)
    return [invitation(transaction, row) if (row := found.get(id_)) else None for id_ in wanted]


def get_customer_invitations(
    transaction: Transaction, batch: Sequence[Sequence[str]]
) -> list[dict[str, Invitation]]:
    """Returns invitations by customer; see InvitationStorage.get_customer_invitations."""
    return [
        {row.id: invitation(transaction, row) for row in transaction.fetch(_OF_CUSTOMERS, wanted)}
        for wanted in batch
    ]


class _Unsent(NamedTuple):
    """An operation whose e-mail has not gone out yet."""

    n: OperationNumber
    attempts: Count
    deferral: DeferralJson | None


_UNSENT = Query(
    _Unsent,
    select(*columns(operations, _Unsent)).where(operations.c.n.in_(IDS), ~operations.c.done),
)


def get_unsent(transaction: Transaction, wanted: Sequence[str]) -> list[EmailDelivery | None]:
    """Returns how e-mails on their way stand; see InvitationStorage.get_unsent."""
    found = unsent_deliveries(transaction, find_invitations(transaction, wanted).values())
    return [found.get(id_) for id_ in wanted]


def unsent_deliveries(
    transaction: Transaction, rows: Iterable[InvitationPart]
) -> dict[str, EmailDelivery]:
    """Returns by the invitations' IDs how the e-mails stand that have not gone out yet.

    Only those of pending ones are on their way.
    """
    latest = {row.public_id: row.latest for row in rows if row.invitation == PENDING}
    numbers = list(set(latest.values()))
    unsent = {
        row.n: _unsent(row) for row in (transaction.fetch(_UNSENT, numbers) if numbers else [])
    }
    return {id_: unsent[number] for id_, number in latest.items() if number in unsent}


def _unsent(row: _Unsent) -> EmailDelivery:
    if row.deferral is None:
        return EmailDelivery(DeliveryState.QUEUED, row.attempts)
    return deferred(deferral(row.deferral))
