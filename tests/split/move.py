"""Moves a reseller from one database to another: rows, keys and links as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    NullPool,
    Select,
    Table,
    bindparam,
    create_engine,
    delete,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert

from server.storage.schema.access_tables import role_bindings
from server.storage.schema.codes import CUSTOMER_TARGET, INVITATION_TARGET, OPERATION_TARGET
from server.storage.schema.codes import WEBHOOK_TARGET as OF_WEBHOOK
from server.storage.schema.tables import (
    counts,
    customers,
    event_logs,
    events,
    idempotency_keys,
    link_tokens,
    operations,
    resellers,
    suppressions,
)
from server.storage.schema.webhook_tables import attempts, deliveries, webhooks
from tests.split.databases import SLOTS

_RESELLER: BindParameter[int] = bindparam("reseller")


def _numbers(table: Table) -> Select[Any]:
    return select(table.c.n).where(table.c.reseller == _RESELLER)


_CUSTOMERS, _OPERATIONS, _WEBHOOKS = map(_numbers, (customers, operations, webhooks))
_target, _kind = idempotency_keys.c.target, idempotency_keys.c.target_kind
# What is a reseller's, those that others are found by last. What is not here:
# - accounts, their keys, tokens and audit, which have a database of their own;
# - counts of e-mails to one address and addresses whose owner wants none: they are no reseller's,
#   so each database has those of the e-mails that it sends;
# - keys of `:test` of webhooks, whose rows don't say whose they are: repeated after the move, it
#   sends another test.
_OF_RESELLER: dict[Table, ColumnElement[bool]] = {
    link_tokens: link_tokens.c.customer.in_(_CUSTOMERS),
    attempts: attempts.c.webhook.in_(_WEBHOOKS),
    idempotency_keys: (
        ((_kind == OPERATION_TARGET) & _target.in_(_OPERATIONS))
        | (_kind.in_((INVITATION_TARGET, CUSTOMER_TARGET)) & _target.in_(_CUSTOMERS))
        | ((_kind == OF_WEBHOOK) & _target.in_(_WEBHOOKS))
    ),
    deliveries: deliveries.c.reseller == _RESELLER,
    events: events.c.reseller == _RESELLER,
    event_logs: event_logs.c.reseller == _RESELLER,
    suppressions: suppressions.c.reseller == _RESELLER,
    role_bindings: role_bindings.c.reseller_id == bindparam("id"),
    counts: counts.c.scope.endswith(bindparam("name")),
    webhooks: webhooks.c.reseller == _RESELLER,
    operations: operations.c.reseller == _RESELLER,
    customers: customers.c.reseller == _RESELLER,
}


def move_reseller(reseller_id: str, source_url: str, target_url: str) -> dict[str, int]:
    """Moves a reseller, for which nothing is done meanwhile; returns the rows of each table.

    The target's commit comes first: interrupted, it can be done again.
    """
    with _connected(source_url) as source, _connected(target_url) as target:
        of_id = select(resellers.c.n).where(resellers.c.id == reseller_id)
        values = {
            "reseller": source.execute(of_id).scalar_one(),
            "name": f"/{reseller_id}",
            "id": reseller_id,
        }
        moved = {}
        for table, is_theirs in _OF_RESELLER.items():
            rows = source.execute(select(table).where(is_theirs), values).mappings().all()
            if rows:
                known = insert(table).on_conflict_do_nothing()
                target.execute(known, [dict(row) for row in rows])
            moved[table.name] = len(rows)
        _draw_greater(target, _last_number(source))
        target.commit()
        for table, is_theirs in _OF_RESELLER.items():
            source.execute(delete(table).where(is_theirs), values)
        source.commit()
    return moved


def _draw_greater(target: Connection, than: int) -> None:
    """Lets what the reseller makes next have greater numbers than what it has: lists go by them."""
    last = _last_number(target)
    if last < than:
        last += (than - last + SLOTS - 1) // SLOTS * SLOTS
        target.execute(text("SELECT setval('numbers', :last)"), {"last": last})


def _last_number(connection: Connection) -> int:
    return int(connection.execute(text("SELECT last_value FROM numbers")).scalar_one())


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
