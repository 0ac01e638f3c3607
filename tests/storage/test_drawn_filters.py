"""Filters drawn at random, on SQLite and PostgreSQL: a list finds what a plain reading of all finds.

What a filter means is drawn with its text, so neither the grammar nor the queries have a say in it.
"""

import operator
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from billing.v1 import customer_service_pb2, invitation_service_pb2

from server.domain.customers import Customer
from server.domain.events import Event
from server.rpc.messages.customer_lists import wanted_customers
from server.rpc.messages.events import parse_event_filter
from server.rpc.messages.filters import MOST_NESTED
from server.rpc.messages.invitation_lists import wanted_invitations
from server.rpc.messages.operations import parse_operation_filter
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.reading import walk
from tests.storage.records import RESELLER, SECOND_RESELLER
from tests.storage.test_customer_lists import make
from tests.storage.test_invitation_lists import NOW, with_e_mails
from tests.storage.test_invitation_lists import make as make_invitations

Meaning = Callable[[Any], bool]
# What a record has, of what is compared with a text, a time or the name of a value; None: nothing.
Reading = Callable[[Any], Any]

SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
}
ORDERED = {
    **SIGNS,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CUSTOMERS: dict[str, Reading] = {
    "state": lambda each: each.state.name,
    "displayName": lambda each: each.name,
    "external_id": lambda each: each.external_id or "",
    "email": lambda each: each.email,
    "person.tin": lambda each: each.person.get("tin", ""),
    "labels.tier": lambda each: each.labels.get("tier"),
    "labels.x-1": lambda each: each.labels.get("x-1"),
    'labels."région"': lambda each: each.labels.get("région"),
    "create_time": lambda each: each.created_at,
    "updateTime": lambda each: each.modified_at,
    "deleteTime": lambda each: each.deleted_at,
}
INVITATIONS: dict[str, Reading] = {
    "state": lambda each: each.state.name,
    "email": lambda each: each.email,
    "customer": lambda each: f"resellers/{each.reseller_id}/customers/{each.customer_id}",
    "delivery.state": lambda each: (
        each.delivery.state.name if each.delivery and each.delivery.state else None
    ),
    "createTime": lambda each: each.created_at,
    "expire_time": lambda each: each.expires_at,
    "endTime": lambda each: each.ended_at,
    "resendTime": lambda each: each.resent_at,
}
OPERATIONS: dict[str, Reading] = {
    "done": lambda each: each.done,
    "error": lambda each: each.failure,
    "metadata.customer": lambda each: f"resellers/{each.reseller_id}/customers/{each.customer_id}",
    "metadata.create_time": lambda each: each.created_at,
}
EVENTS: dict[str, Reading] = {
    "type": lambda each: each.type.value,
    "customer": lambda each: each.customer_id or None,
    "createTime": lambda each: each.created_at,
    "actor.subject": lambda each: each.actor.subject,
}
ALWAYS_THERE = ("displayName", "external_id", "person.tin")
ORDERS = ("", "create_time")
# What can't be compared, but asked for.
ONLY_PRESENT = ("error",)


class Draw:
    """Draws filters about records, from a seed."""

    def __init__(self, seed: int, readings: dict[str, Reading], records: Sequence[Any]) -> None:
        self._random = random.Random(seed)
        self._readings = readings
        self._records = records

    def filter(self, depth: int) -> tuple[str, Meaning]:
        """Returns a filter as it is written, and what it means."""
        kind = self._random.choice(("not", "all", "any")) if depth else ""
        if not kind or self._random.random() < 0.2:
            return self._comparison()
        if kind == "not":
            text, meaning = self.filter(depth - 1)
            return f"{self._random.choice(('NOT ', '-'))}({text})", lambda each: not meaning(each)
        parts = [self.filter(depth - 1) for _ in range(self._random.choice((2, 3)))]
        meanings = [meaning for _, meaning in parts]
        if kind == "all":
            joined = self._random.choice((" AND ", " "))
            texts = (f"({text})" for text, _ in parts)
            return joined.join(texts), lambda each: all(meaning(each) for meaning in meanings)
        # OR binds closer than AND and than terms side by side, which are bare here.
        bare, (last, also) = " OR ".join(f"({text})" for text, _ in parts), self._comparison()
        return (
            f"{bare} {last}",
            lambda each: any(meaning(each) for meaning in meanings) and also(each),
        )

    def _comparison(self) -> tuple[str, Meaning]:
        field = self._random.choice(list(self._readings))
        reading = self._readings[field]
        if field in ONLY_PRESENT or self._random.random() < 0.15:
            missing = "" if field in ALWAYS_THERE else None
            return f"{field}:*", lambda each: reading(each) != missing
        values = sorted({value for value in map(reading, self._records) if value is not None})
        value = self._random.choice(values)
        sign = self._random.choice(list(ORDERED if isinstance(value, datetime) else SIGNS))
        compare = ORDERED[sign]

        def meaning(each: Any) -> bool:
            actual = reading(each)
            return actual is not None and compare(actual, value)

        return (
            f"{field}{self._random.choice((' ', ''))}{sign} {self._written(field, value)}",
            meaning,
        )

    def _written(self, field: str, value: Any) -> str:
        if isinstance(value, datetime):
            hours = self._random.choice((0, 3, -11))
            return value.astimezone(timezone(timedelta(hours=hours))).isoformat()
        if field == "email":
            value = self._random.choice((value, value.upper()))
        if isinstance(value, bool):
            return str(value).lower()
        quote = self._random.choice("\"'")
        escaped = str(value).replace("\\", "\\\\").replace(quote, f"\\{quote}")
        return f"{quote}{escaped}{quote}"


async def test_customers_that_are_listed_are_those_that_meet_the_filter(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 7)
    made: list[Customer] = [await make(storage, number) for number in range(25)]
    await make(storage, 0, SECOND_RESELLER)
    draw = Draw(1, CUSTOMERS, made)
    some = 0
    for number in range(250):
        text, meaning = draw.filter(2)
        request = customer_service_pb2.ListCustomersRequest(
            parent=f"resellers/{RESELLER}",
            filter=text,
            order_by=ORDERS[number % 2],
            show_deleted=True,
        )
        wanted = wanted_customers(request)
        found = await walk(partial(storage.customers.list_customers, wanted), 4)
        ordered = made if wanted.oldest_first else made[::-1]
        assert found == [each for each in ordered if meaning(each)], text
        some += 0 < len(found) < len(made)
    assert some > 100


async def test_invitations_that_are_listed_are_those_that_meet_the_filter(
    storage: SqlStorage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 7)
    shown = await with_e_mails(storage, await make_invitations(storage), database_url)
    draw = Draw(3, INVITATIONS, shown)
    some = 0
    for number in range(250):
        text, meaning = draw.filter(2)
        wanted = wanted_invitations(
            invitation_service_pb2.ListInvitationsRequest(
                parent=f"resellers/{RESELLER}", filter=text, order_by=ORDERS[number % 2]
            )
        )
        found = await walk(partial(storage.invitations.list_invitations, wanted, NOW), 4)
        ordered = shown[::-1] if wanted.oldest_first else shown
        assert [each.id for each in found] == [each.id for each in ordered if meaning(each)], text
        some += 0 < len(found) < len(shown)
    assert some > 100


async def test_operations_that_are_listed_are_those_that_meet_the_filter(
    storage: SqlStorage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 7)
    await with_e_mails(storage, await make_invitations(storage), database_url)
    both = [RESELLER, SECOND_RESELLER]
    for number in range(10):
        await make(storage, number, both[number % 2])
    made = await walk(partial(storage.operations.list_operations, both, None), 100)
    assert query(database_url, "SELECT count(*) FROM operations") == [(len(made),)]
    draw = Draw(4, OPERATIONS, made)
    some = 0
    for _ in range(250):
        text, meaning = draw.filter(2)
        filter_ = parse_operation_filter(text)
        read = partial(storage.operations.list_operations, both, filter_)
        listed = await walk(read, 4)
        assert listed == [each for each in made if meaning(each)], text
        some += 0 < len(listed) < len(made)
    assert some > 100


async def test_events_that_are_listed_are_those_that_meet_the_filter(storage: SqlStorage) -> None:
    for number in range(20):
        await make(storage, number)
    await make(storage, 0, SECOND_RESELLER)
    made: Sequence[Event] = (await storage.events.list_events(RESELLER, 0, None, 1000)).events
    draw = Draw(2, EVENTS, made)
    some = 0
    for _ in range(250):
        text, meaning = draw.filter(2)
        filter_ = parse_event_filter(text, RESELLER)
        found = (await storage.events.list_events(RESELLER, 0, filter_, 1000)).events
        assert found == [each for each in made if meaning(each)], text
        some += 0 < len(found) < len(made)
    assert some > 100


async def test_the_deepest_filters_of_events_are_read(storage: SqlStorage) -> None:
    """Those that alternate all there is; SQLite's parser has a stack of a hundred."""
    await make(storage, 0)
    every, some, none = "customer:*", "customer:* OR", "type = webhook.created"
    for text, pairs in (
        (f"{every} ({some} -(", MOST_NESTED // 2),
        (f"{none} ({some} ({every} OR NOT (", MOST_NESTED // 3),
        (f"({some} ({every} (", MOST_NESTED // 3),
    ):
        filter_ = parse_event_filter(text * pairs + every + ")" * text.count("(") * pairs, RESELLER)
        page = await storage.events.list_events(RESELLER, 0, filter_, 1000)
        assert page.read_to == page.bounds.last
