"""The log: it has no gaps, and agrees with what it tells of."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import and_, exists, func, not_, or_, select

from server.domain.events import EventType
from server.domain.operations import OperationKind
from server.storage.check.checks import LOGGED_SINCE, Check, Condition, RowCheck, missing
from server.storage.customer_rows import InvitationPart
from server.storage.events.rows import customer_json, shows_invitation
from server.storage.schema.codes import (
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    OPERATION_KIND_CODES,
    EventTypeCode,
)
from server.storage.schema.tables import (
    CustomerRow,
    EventJson,
    customers,
    event_logs,
    events,
    operations,
    resellers,
)
from server.storage.sql.statements import PartQuery, columns
from server.storage.sql.times import Micros

_e, _c, _o = events.c, customers.c, operations.c

_EVENTS = Check(
    events.outerjoin(event_logs, event_logs.c.reseller == _e.reseller).outerjoin(
        resellers, resellers.c.n == _e.reseller
    ),
    _e.number,
    {
        "an event is in the log of a known reseller": or_(missing(event_logs), missing(resellers)),
        "an event's type is known": _e.type.not_in(list(EVENT_TYPES)),
    },
)

_kept = (
    select(
        _e.reseller,
        func.min(_e.number).label("first"),
        func.max(_e.number).label("last"),
        func.count().label("count"),
    )
    .group_by(_e.reseller)
    .subquery()
)
_LOGS = Check(
    event_logs.outerjoin(_kept, _kept.c.reseller == event_logs.c.reseller),
    event_logs.c.reseller,
    {
        "the events of a log have all numbers from the first that is kept to the last": or_(
            func.coalesce(_kept.c.first, event_logs.c.last + 1) != event_logs.c.cleared + 1,
            func.coalesce(_kept.c.last, event_logs.c.cleared) != event_logs.c.last,
            func.coalesce(_kept.c.count, 0) != event_logs.c.last - event_logs.c.cleared,
        )
    },
)

_ENDS = {
    OperationKind.CREATE_RESELLER_SERVED: (EventType.CUSTOMER_CREATED,),
    OperationKind.ACTIVATE: (EventType.CUSTOMER_ACTIVATED,),
    OperationKind.SUSPEND: (EventType.CUSTOMER_SUSPENDED,),
}
_MAIL_ENDS = (
    EventType.INVITATION_SENT,
    EventType.INVITATION_UNDELIVERABLE,
    EventType.INVITATION_CANCELLED,
)


# What tells of operations that sent no e-mail.
_BEGINS = (
    EventType.CUSTOMER_INVITED,
    EventType.INVITATION_RESENT,
    EventType.INVITATION_UPDATED,
)


def _tells_of_end(kind: OperationKind) -> Condition:
    tells = _is_of(_ENDS.get(kind, _MAIL_ENDS))
    if kind not in _ENDS:
        tells = or_(tells, and_(_o.attempts == 0, _o.failure.is_(None), _is_of(_BEGINS)))
    return and_(_o.kind == OPERATION_KIND_CODES[kind], tells)


def _is_of(types: tuple[EventType, ...]) -> Condition:
    return _e.type.in_([EVENT_TYPE_CODES[type_] for type_ in types])


_event_of_end = exists().where(
    _e.customer == _o.customer,
    or_(_e.operation_id == _o.id, and_(_o.n == _o.customer, _e.operation_id == "")),
    or_(
        *(_tells_of_end(kind) for kind in OperationKind if kind is not OperationKind.UPDATE_ACCESS)
    ),
)
_ENDED = Check(
    operations,
    _o.n,
    {
        "an operation that ended has its event": and_(
            # One on access has an event for each role that was not yet as wanted.
            *(_o.done, _o.kind != OPERATION_KIND_CODES[OperationKind.UPDATE_ACCESS]),
            *(_o.modified_at >= LOGGED_SINCE, not_(_event_of_end)),
        )
    },
)


_OF_CUSTOMERS = [code for type_, code in EVENT_TYPE_CODES.items() if type_.startswith("customer.")]


class _WithLastEvent(NamedTuple):
    """A customer with its invitation, if any, and the last event of it."""

    customer: CustomerRow
    type: EventTypeCode | None
    data: EventJson | None
    logged_since: Micros

    def is_shown(self) -> bool:
        """Tells whether the last event shows the customer, or the invitation, as it is."""
        row = self.customer
        if self.data is None:
            return row.modified_at < self.logged_since
        if self.type in _OF_CUSTOMERS:
            return customer_json(row) == self.data
        values = row._asdict()
        shown = InvitationPart(**{name: values[name] for name in InvitationPart._fields})
        return shows_invitation(self.data, shown)


_SHOWN = "a customer's last event shows it as it is"


def _find_outdated(rows: Iterable[_WithLastEvent]) -> Iterator[tuple[str, str]]:
    return ((_SHOWN, row.customer.id) for row in rows if not row.is_shown())


_last = (
    select(_e.customer, func.max(_e.number).label("number"))
    .where(_e.customer.is_not(None))
    .group_by(_e.customer)
    .subquery()
)
_LAST_EVENTS = RowCheck(
    PartQuery(
        _WithLastEvent,
        CustomerRow,
        select(*columns(customers, CustomerRow), _e.type, _e.data, LOGGED_SINCE).select_from(
            customers.outerjoin(_last, _last.c.customer == _c.n).outerjoin(
                events, and_(_e.reseller == _c.reseller, _e.number == _last.c.number)
            )
        ),
    ),
    (_SHOWN,),
    _find_outdated,
)

CHECKS = (_EVENTS, _LOGS, _ENDED)
ROW_CHECKS = (_LAST_EVENTS,)
