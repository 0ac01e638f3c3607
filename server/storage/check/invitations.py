"""Invitations, from being made to their end, and the links to them."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import and_, exists, func, or_, select, true

from server.domain.addresses import address_key
from server.domain.invitation_options import (
    LONGEST_LIFETIME,
    SHORTEST_LIFETIME,
    DeliveryMethod,
    InvitationOptions,
)
from server.domain.operations import OperationKind
from server.storage.check.checks import (
    CLEARED_BEFORE,
    Check,
    RowCheck,
    differ,
    missing,
    only_one,
)
from server.storage.customer_rows import tax_number
from server.storage.invitation_options import options_json, read_options
from server.storage.invitations.addresses import address_hash, is_slot_of
from server.storage.invitations.links import link_number
from server.storage.schema.codes import (
    DELIVERY_STATES,
    INVITATION_STATE_CODES,
    LINK_ONLY,
    NO_INVITATION,
    OPERATION_KIND_CODES,
    PENDING,
    DeliveryStateCode,
)
from server.storage.schema.tables import (
    AddressKey,
    CustomerId,
    CustomerNumber,
    Email,
    LinkHash,
    LinkNumber,
    OptionsJson,
    PersonJson,
    ResellerId,
    Slot,
    customers,
    link_tokens,
    operations,
    reminders,
    resellers,
)
from server.storage.sql.statements import Query, columns

_c = customers.c
_latest = operations.alias("latest")
_link = exists().where(link_tokens.c.customer == _c.n)
_is_invited = _c.invitation != NO_INVITATION
_is_pending = _c.invitation == PENDING
_SENDING = [OPERATION_KIND_CODES[kind] for kind in (OperationKind.INVITE, OperationKind.RESEND)]

_INVITATIONS = Check(
    customers.outerjoin(_latest, _latest.c.n == _c.latest),
    _c.id,
    {
        "an invitation's state is known": _c.invitation.not_in(
            [NO_INVITATION, *INVITATION_STATE_CODES.values()]
        ),
        "an invitation has an open slot while it is pending, and then one of its own": and_(
            _is_invited,
            or_(and_(_is_pending, _c.slot < 0), and_(~_is_pending, _c.slot != -_c.n)),
        ),
        "an invitation that is not pending has ended at some time": and_(
            _is_invited, only_one(_is_pending, _c.ended_at.is_(None))
        ),
        "an invitation expires and ends after it was made": or_(
            _c.expires_at <= _c.created_at,
            func.coalesce(_c.ended_at, _c.created_at) < _c.created_at,
        ),
        "an invitation has the operation that sent it last": or_(
            and_(
                _is_invited,
                missing(_latest),
                func.coalesce(_c.resent_at, _c.created_at) >= CLEARED_BEFORE,
            ),
            and_(
                ~missing(_latest),
                or_(differ((_latest.c.customer, _c.n)), _latest.c.kind.not_in(_SENDING)),
            ),
        ),
        "an invitation was sent again by another operation than at first": and_(
            _is_invited, only_one(_c.resent_at.is_(None), _c.latest == _c.n)
        ),
        "an invitation that was sent again is not as before": and_(
            _c.previous_latest.is_not(None),
            or_(
                _c.resent_at.is_(None),
                _c.previous_expires_at.is_(None),
                _c.previous_latest == _c.latest,
            ),
        ),
        "a pending invitation's resend that failed is undone": and_(
            _is_pending, _c.previous_latest.is_not(None), _latest.c.failure.is_not(None)
        ),
        "a pending invitation that was sent can be accepted by a link": and_(
            _is_pending,
            _latest.c.done,
            _latest.c.attempts > 0,
            _latest.c.failure.is_(None),
            ~_link.where(link_tokens.c.operation == _c.latest),
        ),
        "an invitation tells how its latest e-mail stands that was sent": and_(
            _is_pending,
            _latest.c.done,
            _latest.c.failure.is_(None),
            _c.sent.is_(None),
            _c.delivery.is_(None),
        ),
        "only an invitation has e-mails, in a known state": or_(
            and_(~_is_invited, or_(_c.sent.is_not(None), _c.delivery.is_not(None))),
            _c.delivery.not_in(list(DELIVERY_STATES)),
        ),
        "an invitation's links are cleared after its end, and all of them": and_(
            ~_c.has_links, or_(_is_pending, _link)
        ),
    },
)

_in_one_slot = (
    select(func.min(_c.id).label("id"))
    .where(_c.address_key.is_not(None))
    .group_by(_c.address_key, _c.slot)
    .having(func.count() > 1)
    .subquery()
)
_SEVERAL = Check(
    _in_one_slot, _in_one_slot.c.id, {"two invitations for one address have two slots": true()}
)

_LINKS = Check(
    link_tokens.outerjoin(customers, and_(_c.n == link_tokens.c.customer, _is_invited)).outerjoin(
        operations, operations.c.n == link_tokens.c.operation
    ),
    link_tokens.c.customer,
    {
        "a link to the latest e-mail was sent to the invitation's address": and_(
            link_tokens.c.email.is_not(None), link_tokens.c.operation == _c.latest
        ),
        "a link leads to an invitation": missing(customers),
        "a link was sent by an operation of its invitation": or_(
            and_(missing(operations), link_tokens.c.created_at >= CLEARED_BEFORE),
            and_(
                ~missing(operations),
                or_(
                    differ((operations.c.customer, link_tokens.c.customer)),
                    operations.c.kind.not_in(_SENDING),
                ),
            ),
        ),
    },
)


class _Addressed(NamedTuple):
    """Whose an invitation's address is."""

    n: CustomerNumber
    id: CustomerId
    reseller_id: ResellerId
    email: Email
    person: PersonJson
    address_key: AddressKey
    slot: Slot


_OF_ITS_ADDRESS = "an invitation is found by its address"
_IN_ITS_SLOT = "an open invitation has a slot made of its tax number"
_ONE_OPEN = "one open invitation has the same reseller, address and tax number"


def _find_addresses(rows: Iterable[_Addressed]) -> Iterator[tuple[str, str]]:
    for _, same in groupby(rows, lambda row: row.address_key):
        taken: dict[Slot, _Addressed] = {}
        for row in same:
            if row.address_key != address_hash(address_key(row.email)):
                yield _OF_ITS_ADDRESS, row.id
            if row.slot >= 0:
                taken[row.slot] = row
        seen = set()
        for row in taken.values():
            tin = tax_number(row.person)
            if not is_slot_of(row.slot, row.reseller_id, tin):
                yield _IN_ITS_SLOT, row.id
            named = row.reseller_id, address_key(row.email), tin
            if named in seen:
                yield _ONE_OPEN, row.id
            seen.add(named)


_ADDRESSES = RowCheck(
    Query(
        _Addressed,
        select(_c.n, _c.id, resellers.c.id, _c.email, _c.person, _c.address_key, _c.slot)
        .join_from(customers, resellers, resellers.c.n == _c.reseller)
        .where(_c.address_key.is_not(None), _c.email.is_not(None), _c.slot.is_not(None))
        .order_by(_c.address_key, _c.slot),
    ),
    (_OF_ITS_ADDRESS, _IN_ITS_SLOT, _ONE_OPEN),
    _find_addresses,
)


class _Hashed(NamedTuple):
    """A link's key and what it is made of."""

    n: LinkNumber
    hash: LinkHash
    customer: CustomerNumber


_OF_ITS_HASH = "a link is found by its hash"


def _find_links(rows: Iterable[_Hashed]) -> Iterator[tuple[str, str]]:
    return (
        (_OF_ITS_HASH, str(row.customer)) for row in rows if row.n != link_number(bytes(row.hash))
    )


_HASHES = RowCheck(
    Query(_Hashed, select(*columns(link_tokens, _Hashed))), (_OF_ITS_HASH,), _find_links
)


class _WithOptions(NamedTuple):
    """An invitation that has options."""

    id: CustomerId
    delivery: DeliveryStateCode | None
    options: OptionsJson | None


_READABLE = "an invitation's options can be read"
_SENT_AS_ASKED = "an invitation without e-mails is one that asks for none"


def _find_wrong_options(rows: Iterable[_WithOptions]) -> Iterator[tuple[str, str]]:
    for row in rows:
        options = _readable(row.options)
        if options is None:
            yield _READABLE, row.id
        elif (options.method is DeliveryMethod.LINK) != (row.delivery == LINK_ONLY):
            yield _SENT_AS_ASKED, row.id


def _readable(text: OptionsJson | None) -> InvitationOptions | None:
    try:
        found = read_options(text)
    except (ValueError, TypeError):
        return None
    fits = found.lifetime is None or SHORTEST_LIFETIME <= found.lifetime <= LONGEST_LIFETIME
    return found if fits and options_json(found) == text else None


_OPTIONS = RowCheck(
    Query(
        _WithOptions,
        select(*columns(customers, _WithOptions)).where(
            or_(_c.options.is_not(None), _c.delivery == LINK_ONLY)
        ),
    ),
    (_READABLE, _SENT_AS_ASKED),
    _find_wrong_options,
)

_REMINDERS = Check(
    reminders.outerjoin(customers, and_(_c.n == reminders.c.n, _is_invited)),
    reminders.c.n,
    {"a reminder is of an invitation": missing(customers)},
)

CHECKS = (_INVITATIONS, _SEVERAL, _LINKS, _REMINDERS)
ROW_CHECKS = (_ADDRESSES, _HASHES, _OPTIONS)
