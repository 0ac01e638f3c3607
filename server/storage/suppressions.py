"""Addresses that nothing is sent to.

An address is kept as a hash, the scope that its e-mails are counted by. It has a count there that is
above every limit and never ends: an Invite reads the count anyway, so it needs no other query.

Longer than others: whoever suppresses and whoever releases takes the same steps.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, select, update

from server.domain import ids
from server.domain.access import SERVICE, Actor, AuditRecord
from server.domain.addresses import address_key
from server.domain.events import EventType
from server.domain.mail import DeliveryError, DeliveryState
from server.domain.suppressions import Suppression, SuppressionReason
from server.storage.access.changes import record
from server.storage.count_rules import SUPPRESSED, address_scope
from server.storage.customer_rows import INVITATION_PART, InvitationPart
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed
from server.storage.invitations.addresses import address_hash
from server.storage.invitations.read import find_links
from server.storage.keys import KeyedRequest, KeyLifetime, Keys, answer_each
from server.storage.resellers import reseller_id, reseller_number
from server.storage.schema.codes import (
    DELIVERY_STATE_CODES,
    PENDING,
    SUPPRESSION_REASON_CODES,
    SUPPRESSION_REASONS,
    SUPPRESSION_TARGET,
    DeliveryStateCode,
)
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    FOR_EVER,
    CountRow,
    CustomerNumber,
    Email,
    ErrorJson,
    ResellerNumber,
    SuppressionId,
    SuppressionNumber,
    SuppressionRow,
    counts,
    customers,
    suppressions,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros, micros
from server.storage.sql.transactions import one_by_one

_SERVICE = Actor(SERVICE)
_s = suppressions.c
_BOUNCED = SUPPRESSION_REASON_CODES[SuppressionReason.BOUNCED]
_REQUESTED = SUPPRESSION_REASON_CODES[SuppressionReason.REQUESTED]
_SUPPRESSED_CODE = DELIVERY_STATE_CODES[DeliveryState.SUPPRESSED]
_INSERT = Insert(suppressions, SuppressionRow)
_COUNT = Insert(counts, CountRow)
_BY_SCOPE = Query(SuppressionRow, select(*_s).where(_s.scope.in_(IDS)))
_BY_ID = Query(SuppressionRow, select(*_s).where(_s.id.in_(IDS)))
_DELETE = Statement(delete(suppressions).where(_s.scope.in_(IDS)))
_UNCOUNT = Statement(
    delete(counts).where(counts.c.scope.in_(IDS), counts.c.counts_until == FOR_EVER)
)


class _Last(NamedTuple):
    n: SuppressionNumber


class _Addressed(NamedTuple):
    n: CustomerNumber
    email: Email


_LAST = Query(_Last, select(func.coalesce(func.max(_s.n), 0)))
_OWNERS = Query(_Addressed, select(customers.c.n, customers.c.email).where(customers.c.n.in_(IDS)))
_OPEN = Query(
    InvitationPart,
    select(*INVITATION_PART)
    .where(
        customers.c.address_key.in_(IDS), customers.c.slot >= 0, customers.c.invitation == PENDING
    )
    .order_by(customers.c.n)  # in one order, so that two batches don't wait for each other
    .with_for_update(),
)
_SET = Statement(
    update(customers).where(customers.c.n.in_(IDS)).values(delivery=bindparam("delivery")),
    "delivery",
)


def suppress(
    transaction: Transaction,
    email: str,
    reason: SuppressionReason,
    at: Micros,
    actor: Actor,
    reseller: ResellerNumber | None = None,
    error: DeliveryError | None = None,
) -> bool:
    """Has nothing more sent to an address; what its owner asked for replaces what bounced.

    `reseller` is the one whose e-mail bounced. False: the address was suppressed already.
    """
    scope = address_scope(address_key(email))
    known = transaction.fetch(_BY_SCOPE, [scope])
    code = SUPPRESSION_REASON_CODES[reason]
    if known and (known[0].reason == code or code == _BOUNCED):
        return False
    if known:
        _forget(transaction, scope)
    ((last,),) = transaction.fetch(_LAST)
    is_bounced = code == _BOUNCED
    row = SuppressionRow(
        n=SuppressionNumber(max(last + 1, at)),
        id=SuppressionId(ids.new_id(ids.SUPPRESSION)),
        scope=scope,
        reason=code,
        reseller=reseller if is_bounced else None,
        email=Email(email) if is_bounced else None,
        created_at=at,
        error=ErrorJson(to_json(error)) if error else None,
    )
    transaction.insert(_INSERT, [row])
    transaction.insert(_COUNT, [CountRow(scope, FOR_EVER, Count(SUPPRESSED[reason]))])
    _mark(transaction, email, at, actor, sent_too=not is_bounced)
    return True


def _mark(
    transaction: Transaction, email: str, at: Micros, actor: Actor, *, sent_too: bool
) -> None:
    """Has open invitations show that nothing is sent to them: those not sent yet, or all."""
    for row in _open_at(transaction, email):
        if row.delivery is None and (sent_too or row.sent is None):
            _change(transaction, row, _SUPPRESSED_CODE, at, actor)


def _release(transaction: Transaction, scope: str, email: str, at: Micros, actor: Actor) -> None:
    _forget(transaction, scope)
    for row in _open_at(transaction, email):
        if row.delivery == _SUPPRESSED_CODE:
            _change(transaction, row, None, at, actor)


def _forget(transaction: Transaction, scope: str) -> None:
    transaction.run(_DELETE, [scope])
    transaction.run(_UNCOUNT, [scope])


def _open_at(transaction: Transaction, email: str) -> list[InvitationPart]:
    key = address_key(email)
    rows = transaction.fetch(_OPEN, [address_hash(key)])
    return [row for row in rows if row.email and address_key(row.email) == key]


def _change(
    transaction: Transaction,
    row: InvitationPart,
    delivery: DeliveryStateCode | None,
    at: Micros,
    actor: Actor,
) -> None:
    transaction.run(_SET, [row.n], delivery=delivery)
    data = invitation_json(row._replace(delivery=delivery))
    event = NewEvent(row.reseller, EventType.INVITATION_UPDATED, at, actor, data, row.n)
    log(transaction, event)


class _OtherAddress(NamedTuple):
    email: Email


_OF_RESELLER_AT = Query(
    _OtherAddress,
    select(customers.c.email).where(
        customers.c.address_key.in_(IDS), customers.c.reseller == bindparam("of")
    ),
    "of",
)


def hide_address(transaction: Transaction, email: str, reseller: ResellerNumber) -> None:
    """Removes the address of a suppression that a reseller sees; its hash stays, so nothing is sent.

    Changes nothing where another customer of the reseller has the address.
    """
    key = address_key(email)
    found = transaction.fetch(_BY_SCOPE, [address_scope(key)])
    others = transaction.fetch(_OF_RESELLER_AT, [address_hash(key)], of=reseller)
    if (
        not found
        or found[0].reseller != reseller
        or any(address_key(each.email) == key for each in others)
    ):
        return
    row = found[0]._replace(reason=_REQUESTED, reseller=None, email=None)
    _forget(transaction, row.scope)
    transaction.insert(_INSERT, [row])
    count = Count(SUPPRESSED[SuppressionReason.REQUESTED])
    transaction.insert(_COUNT, [CountRow(row.scope, FOR_EVER, count)])


class SuppressionPage(NamedTuple):
    """Which to list."""

    reseller_id: str
    limit: int
    after: Cursor | None


_PAGE = (
    select(*_s)
    .where(_s.reseller == bindparam("reseller"), _s.n < bindparam("after"))
    .order_by(_s.n.desc())
    .limit(bindparam("limit"))
)
_LISTED = Query(SuppressionRow, _PAGE, "reseller", "after", "limit")


def list_suppressions(
    transaction: Transaction, pages: Sequence[SuppressionPage]
) -> list[list[Listed[Suppression]]]:
    """Returns a page for each; see SuppressionStorage.list_suppressions."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: SuppressionPage) -> list[Listed[Suppression]]:
    reseller = reseller_number(transaction, page.reseller_id)
    if reseller is None:
        return []
    after = FOR_EVER if page.after is None else page.after
    rows = transaction.fetch(_LISTED, reseller=reseller, after=after, limit=page.limit)
    return [Listed(_suppression(transaction, row), Cursor(row.n)) for row in rows]


def _suppression(transaction: Transaction, row: SuppressionRow) -> Suppression:
    return Suppression(
        row.id,
        reseller_id(transaction, row.reseller) if row.reseller is not None else "",
        row.email or "",
        from_micros(row.created_at),
        DeliveryError(*from_json(row.error)) if row.error else None,
    )


class Release(NamedTuple):
    """What a reseller releases."""

    reseller_id: str
    suppression_id: str
    now: Micros
    actor: Actor
    use: KeyedRequest | None


def release_suppressions(
    transaction: Transaction, batch: Sequence[Release]
) -> list[bool | Exception]:
    """Releases what bounced for resellers; see SuppressionStorage.release_suppression."""
    keys = Keys(transaction, [wanted.use for wanted in batch])

    def release(wanted: Release) -> bool:
        reseller = reseller_number(transaction, wanted.reseller_id)
        for row in transaction.fetch(_BY_ID, [wanted.suppression_id]):
            if row.reseller is not None and row.reseller == reseller and row.email:
                _release(transaction, row.scope, row.email, wanted.now, wanted.actor)
                keys.changed(wanted.use, SUPPRESSION_TARGET, row.n)
                return True
        return False

    outcomes = answer_each(batch, keys, lambda *_: True, release)
    keys.write()
    return outcomes


class RequestByLink(NamedTuple):
    """What the owner of an address wants, by a link: nothing more sent, or e-mails again."""

    token_hash: bytes
    suppressed: bool
    now: Micros
    actor: Actor


def change_by_link(transaction: Transaction, batch: Sequence[RequestByLink]) -> list[bool]:
    """Does what owners want; see SuppressionStorage.suppress_by_link and release_by_link."""
    emails = _owners(transaction, [each.token_hash for each in batch])
    for request in batch:
        email = emails.get(request.token_hash)
        if email is None:
            continue
        if request.suppressed:
            suppress(transaction, email, SuppressionReason.REQUESTED, request.now, request.actor)
        else:
            scope = address_scope(address_key(email))
            if transaction.fetch(_BY_SCOPE, [scope]):
                _release(transaction, scope, email, request.now, request.actor)
    return [each.token_hash in emails for each in batch]


def find_suppressed(
    transaction: Transaction, batch: Sequence[bytes]
) -> list[SuppressionReason | None]:
    """Returns why nothing is sent to owners of links; see SuppressionStorage.suppression_by_link."""
    emails = _owners(transaction, batch)
    scopes = {hash_: address_scope(address_key(email)) for hash_, email in emails.items()}
    wanted = list(set(scopes.values()))
    found = {row.scope: row for row in (transaction.fetch(_BY_SCOPE, wanted) if wanted else [])}
    return [
        SUPPRESSION_REASONS[row.reason] if (row := found.get(scopes.get(hash_, ""))) else None
        for hash_ in batch
    ]


def _owners(transaction: Transaction, hashes: Sequence[bytes]) -> dict[bytes, str]:
    """Returns whom links were sent to, by their hashes."""
    links = find_links(transaction, hashes)
    numbers = list({link.customer for link in links.values()})
    rows = {row.n: row for row in (transaction.fetch(_OWNERS, numbers) if numbers else [])}
    return {
        hash_: link.email or rows[link.customer].email
        for hash_, link in links.items()
        if link.customer in rows and rows[link.customer].email
    }


class OperatorsRelease(NamedTuple):
    """An address that an operator releases, on the word of its owner."""

    email: str
    now: datetime
    by: str


@one_by_one
def release_address(transaction: Transaction, wanted: OperatorsRelease) -> bool:
    """Releases an address, whatever the reason was; see Administration.release_address."""
    scope = address_scope(address_key(wanted.email))
    known = transaction.fetch(_BY_SCOPE, [scope])
    if known:
        _release(transaction, scope, wanted.email, micros(wanted.now), _SERVICE)
        # The address itself is the owner's: the audit tells which by the suppression's ID.
        record(
            transaction,
            [AuditRecord(wanted.now, wanted.by, "suppressions.release", known[0].id, "")],
        )
    return bool(known)


class SqlSuppressions:
    """Implements `interface.SuppressionStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher, keys: KeyLifetime) -> None:
        self._writes = writes
        self._reads = reads
        self._keys = keys

    async def list_suppressions(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Suppression]]:
        return await self._reads.submit(
            list_suppressions, SuppressionPage(reseller_id, limit, after)
        )

    async def release_suppression(
        self,
        reseller_id: str,
        suppression_id: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> bool:
        use = self._keys.keyed(key, now)
        release = Release(reseller_id, suppression_id, micros(now), actor, use)
        return await self._writes.submit(release_suppressions, release)

    async def suppression_by_link(self, token_hash: bytes) -> SuppressionReason | None:
        return await self._reads.submit(find_suppressed, token_hash)

    async def suppress_by_link(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        request = RequestByLink(token_hash, True, micros(now), actor)
        return await self._writes.submit(change_by_link, request)

    async def release_by_link(self, token_hash: bytes, now: datetime, actor: Actor) -> bool:
        request = RequestByLink(token_hash, False, micros(now), actor)
        return await self._writes.submit(change_by_link, request)
