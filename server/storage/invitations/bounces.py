"""Recording what comes back of invitations' e-mails."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain import ids
from server.domain.access import INVITEE, SERVICE, Actor
from server.domain.bounces import BounceOutcome, BounceReport, BounceToken, proves
from server.domain.events import EventType
from server.domain.invitations import InvitationState, state_at
from server.domain.mail import DeliveryState, explained
from server.domain.suppressions import SuppressionReason
from server.storage import resellers
from server.storage.customer_rows import LOCK_INVITATIONS, InvitationPart, sent_json
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.schema.codes import DELIVERY_STATE_CODES, INVITATION_STATES
from server.storage.schema.tables import (
    CustomerNumber,
    Email,
    FailureJson,
    LinkHash,
    LinkNumber,
    OperationId,
    OperationNumber,
    customers,
    link_tokens,
    operations,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.json_texts import from_json
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import from_micros, from_micros_or_none, micros
from server.storage.suppressions import suppress

_SERVICE, _READER = Actor(SERVICE), Actor(INVITEE)
_BOUNCED = DELIVERY_STATE_CODES[DeliveryState.BOUNCED]


class _NumberedLink(NamedTuple):
    n: LinkNumber
    hash: LinkHash
    customer: CustomerNumber
    operation: OperationNumber
    email: Email | None


class _Operation(NamedTuple):
    n: OperationNumber
    id: OperationId | None
    done: bool
    failure: FailureJson | None


_LINKS = Query(
    _NumberedLink,
    select(*columns(link_tokens, _NumberedLink)).where(link_tokens.c.n.in_(IDS)),
)


class _Number(NamedTuple):
    n: CustomerNumber


_named = customers.alias("named")
_AT_THEIR_ADDRESSES = Query(
    _Number,
    select(customers.c.n)
    .join_from(_named, customers, customers.c.address_key == _named.c.address_key)
    .where(_named.c.n.in_(IDS), customers.c.slot >= 0),
)
_OPERATIONS = Query(
    _Operation,
    select(*columns(operations, _Operation)).where(operations.c.n.in_(IDS)),
)
_RECORD = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(delivery=bindparam("delivery"), sent=bindparam("sent")),
    *("delivery", "sent"),
)


class Bounce(NamedTuple):
    """A report that came back to an e-mail's sender."""

    token: BounceToken
    report: BounceReport
    now: datetime


def known_bounces(transaction: Transaction, batch: Sequence[BounceToken]) -> list[bool]:
    """Tells which tokens are those of e-mails; see BounceStorage.knows_bounce."""
    links = _links(transaction, batch)
    return [token in links for token in batch]


def record_bounces(transaction: Transaction, batch: Sequence[Bounce]) -> list[BounceOutcome]:
    """Records what came back; see BounceStorage.record_bounce."""
    links = _links(transaction, [each.token for each in batch])
    numbers = list({link.customer for link in links.values()})
    if numbers and any(each.report.about_recipient or each.report.is_unwanted for each in batch):
        # Those at the same addresses change too, and are locked in one order with the others.
        numbers += [row.n for row in transaction.fetch(_AT_THEIR_ADDRESSES, numbers)]
    rows = {row.n: row for row in (transaction.fetch(LOCK_INVITATIONS, numbers) if numbers else [])}
    wanted = list(
        {row.latest for row in rows.values()} | {each.operation for each in links.values()}
    )
    done = {row.n: row for row in (transaction.fetch(_OPERATIONS, wanted) if wanted else [])}
    outcomes = []
    for bounce in batch:
        link = links.get(bounce.token)
        row = rows.get(link.customer) if link else None
        if link is None or row is None:
            outcomes.append(BounceOutcome())
            continue
        sent_by = done.get(link.operation)
        outcome = BounceOutcome(
            row.public_id,
            operation_id=(sent_by.id or ids.OPERATION + row.id[3:]) if sent_by else None,
            customer_id=row.id,
            reseller_id=resellers.reseller_id(transaction, row.reseller),
        )
        if bounce.report.is_unwanted:
            is_new = _record_unwanted(transaction, link.email or row.email, bounce.now)
            # Open invitations at the address now tell that nothing is sent; some are in this batch.
            rows |= {each.n: each for each in transaction.fetch(LOCK_INVITATIONS, list(rows))}
            outcomes.append(outcome._replace(is_recorded=is_new))
            continue
        operation = done.get(row.latest)
        if _is_about(row, link, bounce):
            if operation and not operation.done:
                outcome = outcome._replace(too_early=True)
            elif operation is None or operation.failure is None:
                rows[row.n] = record_returned(transaction, row, bounce.report, bounce.now)
                outcome = outcome._replace(is_recorded=True)
        outcomes.append(outcome)
    return outcomes


def _record_unwanted(transaction: Transaction, email: str, now: datetime) -> bool:
    """Has nothing more sent to who called an e-mail spam, which is the owner's wish. False: known."""
    return bool(email) and suppress(
        *(transaction, email, SuppressionReason.REQUESTED, micros(now), _READER)
    )


def _links(
    transaction: Transaction, tokens: Sequence[BounceToken]
) -> dict[BounceToken, _NumberedLink]:
    wanted = list({token.number for token in tokens if token.number < 1 << 63})
    found = {row.n: row for row in (transaction.fetch(_LINKS, wanted) if wanted else [])}
    return {
        token: link
        for token in tokens
        if (link := found.get(LinkNumber(token.number))) and proves(token, bytes(link.hash))
    }


def _is_about(row: InvitationPart, link: _NumberedLink, bounce: Bounce) -> bool:
    """Tells whether the report changes anything: the latest e-mail of a pending one came back."""
    state = state_at(INVITATION_STATES[row.invitation], from_micros(row.expires_at), bounce.now)
    return (
        bounce.report.came_back
        and state is InvitationState.PENDING
        and link.operation == row.latest
        and row.delivery is None
    )


def record_returned(
    transaction: Transaction, row: InvitationPart, report: BounceReport, now: datetime
) -> InvitationPart:
    """Records that the latest e-mail of a locked, pending invitation came back; returns its row."""
    attempts, sent_at, _ = from_json(row.sent) if row.sent else (1, None, None)
    error = explained(report.smtp_code, report.status, "the e-mail came back")
    sent = sent_json(attempts, from_micros_or_none(sent_at), error)
    transaction.run(_RECORD, [row.n], delivery=_BOUNCED, sent=sent)
    after = row._replace(delivery=_BOUNCED, sent=sent)
    event = NewEvent(
        *(row.reseller, EventType.INVITATION_BOUNCED, micros(now), _SERVICE),
        *(invitation_json(after), row.n),
    )
    log(transaction, event)
    if report.about_recipient:
        at = micros(now)
        suppress(
            *(transaction, row.email, SuppressionReason.BOUNCED, at, _SERVICE),
            reseller=row.reseller,
            error=error,
        )
    return after


class SqlBounces:
    """Implements `interface.BounceStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher) -> None:
        self._writes = writes
        self._reads = reads

    async def knows_bounce(self, token: BounceToken) -> bool:
        return await self._reads.submit(known_bounces, token)

    async def record_bounce(
        self, token: BounceToken, report: BounceReport, now: datetime
    ) -> BounceOutcome:
        return await self._writes.submit(record_bounces, Bounce(token, report, now))
