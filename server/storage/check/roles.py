"""Roles: the log agrees with who has which."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import (
    SmallInteger,
    Text,
    case,
    cast,
    literal_column,
    null,
    select,
    text,
    union_all,
)

from server.domain.events import EventType
from server.storage.check.checks import LOGGED_SINCE, RowCheck
from server.storage.schema.access_tables import role_bindings
from server.storage.schema.codes import EVENT_TYPE_CODES, EventTypeCode
from server.storage.schema.tables import (
    EventJson,
    EventNumber,
    ResellerNumber,
    SubjectId,
    event_logs,
    events,
    resellers,
)
from server.storage.sql.json_texts import from_json
from server.storage.sql.statements import Query
from server.storage.sql.times import Micros

_Key = tuple[ResellerNumber, str, str]


class _Row(NamedTuple):
    """An event of access; or a role that is held, without `data`, after all events of its reseller."""

    reseller: ResellerNumber
    number: EventNumber
    type: EventTypeCode | None
    data: EventJson | None
    subject_id: SubjectId | None
    role: str | None
    created_at: Micros
    logged_since: Micros


_LOG_AGREES = "the last event of a role tells whether it is held, and since when"
_GRANTED = EVENT_TYPE_CODES[EventType.ACCESS_GRANTED]
_REVOKED = EVENT_TYPE_CODES[EventType.ACCESS_REVOKED]


def _find_disagreeing(rows: Iterable[_Row]) -> Iterator[tuple[str, str]]:
    logged: dict[_Key, int | None] = {}
    held: dict[_Key, int] = {}
    for row in rows:
        if row.data is not None:
            subject_id, role, created_at = from_json(row.data)
            logged[row.reseller, subject_id, role] = created_at if row.type == _GRANTED else None
            continue
        key = row.reseller, row.subject_id or "", row.role or ""
        held[key] = row.created_at
        if row.created_at < row.logged_since:
            logged.setdefault(key, row.created_at)
    for key in logged.keys() | held.keys():
        if logged.get(key) != held.get(key):
            yield _LOG_AGREES, key[1]


_e = events.c
# That of a role may be among the events that are no longer kept.
_CLEARED = select(event_logs.c.reseller).where(
    event_logs.c.reseller == resellers.c.n, event_logs.c.cleared > 0
)
_KEPT_SINCE = case((_CLEARED.exists(), literal_column(str(1 << 62))), else_=LOGGED_SINCE)
_ROLES = RowCheck(
    Query(
        _Row,
        union_all(
            select(
                *(_e.reseller, _e.number, _e.type, _e.data),
                *(cast(null(), Text), cast(null(), Text), _e.created_at, LOGGED_SINCE),
            ).where(_e.type.in_([_GRANTED, _REVOKED]), _e.customer.is_(None)),
            select(
                *(resellers.c.n, literal_column(str(1 << 62)), cast(null(), SmallInteger)),
                *(cast(null(), Text), role_bindings.c.subject_id, role_bindings.c.role),
                *(role_bindings.c.created_at, _KEPT_SINCE),
            ).join_from(role_bindings, resellers, resellers.c.id == role_bindings.c.reseller_id),
        ).order_by(text("1, 2")),
    ),
    (_LOG_AGREES,),
    _find_disagreeing,
)

ROW_CHECKS = (_ROLES,)
