"""Filters of events as conditions of SQL, by the rules of `domain.filters`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, or_, true

from server.domain.events import EventType
from server.domain.filters import COMPARE, And, Comparison, Filter, Not, Or, Present
from server.storage.schema.codes import EVENT_TYPE_CODES
from server.storage.schema.tables import events
from server.storage.sql.json_texts import to_json
from server.storage.sql.times import micros


def condition(filter_: Filter) -> ColumnElement[bool]:
    """Returns what rows of `events` must meet."""
    match filter_:
        case Comparison():
            return _comparison(filter_)
        case Present(field):
            return events.c.customer.is_not(None) if field == "customer" else true()
        case Not(negated):
            return not_(condition(negated))
        case And(conditions):
            return and_(*map(condition, conditions))
        case Or(conditions):
            return or_(*map(condition, conditions))


def _comparison(comparison: Comparison) -> ColumnElement[bool]:
    compare: Callable[[Any, Any], ColumnElement[bool]] = COMPARE[comparison.comparator]
    match comparison.field, comparison.value:
        case "type", EventType() as type_:
            return compare(events.c.type, EVENT_TYPE_CODES[type_])
        case "actor.subject", str(subject):
            return compare(events.c.subject, subject)
        case "createTime", datetime() as at:
            return compare(events.c.created_at, micros(at))
        case "customer", str(customer_id):
            # Not by the number in the row: an ID leads to none once the customer is taken back. But
            # what the event shows begins with the ID.
            begins = f"[{to_json(customer_id)},"
            shown = func.substr(events.c.data, 1, len(begins))
            return and_(events.c.customer.is_not(None), compare(shown, begins))
    raise LookupError(f"events have no field {comparison.field}")
