"""Reading the log of events."""

from datetime import timedelta

import pytest

from server.domain.events import EventType
from server.domain.filters import And, Comparator, Comparison, Filter, Not, Or, matches
from server.storage.events import read
from server.storage.interface import EventPage, LogBounds
from server.storage.storage import SqlStorage
from tests.events import AT, Happening, happen, series
from tests.storage.databases import query
from tests.storage.records import ACTOR, RESELLER, SECOND_RESELLER, START, new, until

ONE, TWO = (101, "bcu1"), (102, "bcu2")
EQUAL, UNEQUAL = Comparator.EQUAL, Comparator.UNEQUAL


def customer(id_: str) -> Comparison:
    return Comparison("customer", EQUAL, id_)


def numbers(page: EventPage) -> list[int]:
    return [event.number for event in page.events]


async def test_events_are_read_in_order_after_a_number(storage: SqlStorage) -> None:
    await happen(storage, *series(RESELLER, 5))
    await happen(storage, *series(SECOND_RESELLER, 2))
    await happen(storage, *series(RESELLER, 1))
    page = await storage.events.list_events(RESELLER, 0, None, 100)
    assert numbers(page) == [1, 2, 3, 4, 5, 6]
    assert page[1:] == (6, LogBounds(0, 6))
    assert {event.reseller_id for event in page.events} == {RESELLER}
    page = await storage.events.list_events(RESELLER, 2, None, 3)
    assert (numbers(page), page.read_to) == ([3, 4, 5], 5)
    for after in (6, 7):
        page = await storage.events.list_events(RESELLER, after, None, 3)
        assert page == EventPage([], after, LogBounds(0, 6))
    assert await storage.events.get_event(RESELLER, 3) is not None
    assert await storage.events.get_event(RESELLER, 7) is None


async def test_log_ends_are_the_last_numbers_of_logs(storage: SqlStorage) -> None:
    await happen(storage, *series(RESELLER, 3))
    asked = [SECOND_RESELLER, RESELLER, "unknown"]
    assert await storage.events.get_log_ends(asked) == [0, 3, 0]
    assert await storage.events.get_log_ends([]) == []


@pytest.mark.parametrize("reseller_id", [RESELLER, "unknown"])
async def test_a_log_without_events_is_empty(storage: SqlStorage, reseller_id: str) -> None:
    assert await storage.events.get_log_bounds(reseller_id) == LogBounds(0, 0)
    page = await storage.events.list_events(reseller_id, 0, None, 3)
    assert page == EventPage([], 0, LogBounds(0, 0))
    assert await storage.events.get_event(reseller_id, 1) is None


FILTERS: list[Filter] = [
    Comparison("type", EQUAL, EventType.ACCESS_GRANTED),
    Comparison("type", UNEQUAL, EventType.ACCESS_GRANTED),
    Comparison("actor.subject", EQUAL, "b'; --"),
    Comparison("actor.subject", UNEQUAL, "a"),
    customer("bcu1"),
    customer("bcu10"),
    customer('bcu1",2'),
    Comparison("customer", UNEQUAL, "bcu1"),
    Not(Comparison("customer", UNEQUAL, "bcu1")),
    Not(customer("bcu1")),
    *(Comparison("createTime", each, AT + timedelta(seconds=3)) for each in Comparator),
    Or((customer("bcu1"), customer("bcu2"))),
    And((customer("bcu2"), Comparison("type", EQUAL, EventType.CUSTOMER_ACTIVATED))),
    And((Comparison("actor.subject", EQUAL, "a"), Not(customer("bcu2")))),
    Or((Comparison("createTime", Comparator.LESS, AT), Comparison("actor.subject", EQUAL, "a"))),
]


@pytest.mark.parametrize("filter_", FILTERS, ids=str)
async def test_filters_are_the_same_in_the_database_and_in_memory(
    storage: SqlStorage, filter_: Filter
) -> None:
    await happen(
        storage,
        *(
            Happening(RESELLER, type_, AT + timedelta(seconds=second), subject, about)
            for second, (type_, subject, about) in enumerate(
                [
                    (EventType.ACCESS_GRANTED, "a", None),
                    (EventType.CUSTOMER_ACTIVATED, "a", ONE),
                    (EventType.CUSTOMER_SUSPENDED, "b'; --", ONE),
                    (EventType.CUSTOMER_ACTIVATED, "a", TWO),
                    (EventType.CUSTOMER_SUSPENDED, "", TWO),
                    (EventType.ACCESS_REVOKED, "ü", None),
                ]
            )
        ),
    )
    everything = await storage.events.list_events(RESELLER, 0, None, 100)
    page = await storage.events.list_events(RESELLER, 0, filter_, 100)
    assert page.events == [event for event in everything.events if matches(filter_, event.value_of)]
    assert page.read_to == 6
    paged: list[int] = []
    after = 0
    while after < 6:
        page = await storage.events.list_events(RESELLER, after, filter_, 1)
        assert page.read_to > after
        paged += numbers(page)
        after = page.read_to
    assert paged == [event.number for event in everything.events if event.number in paged]
    assert len(paged) == len(set(paged))


async def test_a_filter_looks_at_a_bounded_part_of_the_log(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_SCANNED", 10)
    await happen(storage, *series(RESELLER, 25), Happening(RESELLER, subject="rare"))
    rare = Comparison("actor.subject", EQUAL, "rare")
    page = await storage.events.list_events(RESELLER, 0, rare, 5)
    assert page == EventPage([], 10, LogBounds(0, 26))
    page = await storage.events.list_events(RESELLER, 20, rare, 5)
    assert (numbers(page), page.read_to) == ([26], 26)


async def test_a_customer_s_events_are_found_by_its_number(
    storage: SqlStorage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever part of the log they are in; also once it is taken back."""
    monkeypatch.setattr(read, "_SCANNED", 1)
    monkeypatch.setattr(read, "_SCANNED_OF_CUSTOMER", 3)
    invited = await storage.invitations.create_invitation(new(), None)
    ((number,),) = query(database_url, "SELECT n FROM customers")
    change = Happening(
        RESELLER, EventType.CUSTOMER_ACTIVATED, customer=(number, invited.customer_id)
    )
    for _ in range(4):
        await happen(storage, *series(RESELLER, 20), change)
    first = await pages_of(storage, invited.customer_id)
    assert (len(first[0]), first[1] <= 4) == (4, True)
    await storage.operations.cancel_operation(invited.id, START, ACTOR, None)
    assert await storage.customers.get_customer(invited.customer_id) is None
    await happen(storage, change)
    then = await pages_of(storage, invited.customer_id)
    assert (then[0][:4], len(then[0]), then[1] <= 4) == (first[0], 5, True)
    # Another reseller's customer is nobody here, whatever else has happened.
    await happen(storage, *series(SECOND_RESELLER, 1))
    found = await storage.events.list_events(SECOND_RESELLER, 0, customer(invited.customer_id), 2)
    assert found.events == []


async def pages_of(storage: SqlStorage, customer_id: str) -> tuple[list[int], int]:
    """Returns the numbers of a customer's activations, and how many pages they took."""
    activated = Comparison("type", EQUAL, EventType.CUSTOMER_ACTIVATED)
    filter_ = And((customer(customer_id), activated))
    found: list[int] = []
    pages = after = 0
    last = (await storage.events.get_log_bounds(RESELLER)).last
    while after < last:
        page = await storage.events.list_events(RESELLER, after, filter_, 2)
        found += numbers(page)
        after, pages = page.read_to, pages + 1
    return found, pages


async def test_large_events_make_short_pages(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MAX_LIST_CHARACTERS", 1)
    read._page.cache_clear()
    try:
        await happen(storage, *series(RESELLER, 3))
        page = await storage.events.list_events(RESELLER, 0, None, 3)
        assert (numbers(page), page.read_to) == ([1], 1)
    finally:
        read._page.cache_clear()


async def test_who_waits_is_told_by_whichever_process(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    told: list[str] = []
    other_process.events.on_events(told.extend)
    await other_process.events.get_log_bounds(RESELLER)
    while not told:
        await happen(storage, *series(RESELLER, 1))
        await happen(storage, *series(SECOND_RESELLER, 1))
    assert set(told) == {RESELLER}
    told.clear()
    await happen(other_process, *series(RESELLER, 1))
    await until(lambda: bool(told))
