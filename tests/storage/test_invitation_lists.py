"""Lists of invitations, on SQLite and PostgreSQL."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from threading import Event
from typing import Any

import pytest
from billing.v1 import invitation_service_pb2

from server.domain.filters import matches
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationList,
    InvitationState,
    as_of,
    resend,
)
from server.domain.mail import DeliveryState, EmailDelivery, explained
from server.domain.operations import Deferral
from server.rpc.messages.invitation_lists import wanted_invitations
from server.storage.invitations.lists import InvitationPage, list_invitations
from server.storage.schema.codes import DELIVERY_STATE_CODES, INVITATION_STATE_CODES
from server.storage.sql.statements import Query, Transaction
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from tests.storage import reading
from tests.storage.databases import on_postgresql, on_sqlite, query
from tests.storage.reading import RowsRead, numbers, slower_among_many, walk
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    invitations,
    new,
    records,
)
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded

PENDING, ACCEPTED, DECLINED, REVOKED, EXPIRED = InvitationState
# When the lists are read: the pending ones of the first day have lapsed, half of them recorded.
NOW = START + INVITATION_LIFETIME + DAY / 2


async def listed(
    storage: SqlStorage,
    state: InvitationState | None = None,
    email: str | None = None,
    now: datetime = NOW,
    limit: int = 1000,
) -> list[Invitation]:
    """Returns the whole list, read in pages."""
    rows: list[Invitation] = []
    after = None
    while True:
        page = (
            await storage.invitations.list_invitations(invitations(state, email), now, limit, after)
        ).rows
        assert len(page) <= limit
        rows += records(page)
        if len(page) < limit:
            return rows
        after = page[-1].cursor


@pytest.fixture
async def made(storage: SqlStorage) -> list[Invitation]:
    return await make(storage)


async def make(storage: SqlStorage) -> list[Invitation]:
    """Makes invitations of two days in all states, newest first, as they are at NOW."""
    several = []
    for day in (0, 1):
        for number in range(12):
            # Some of the same moment: the order in which they came is theirs.
            now = START + day * DAY + timedelta(seconds=number // 2)
            given = new(f"User{number % 4}@example.com", now=now, tin=f"{day}-{number}")
            await storage.invitations.create_invitation(given, None)
            several.append(StoredInvitation(storage, given))
    await storage.invitations.create_invitation(
        new("user0@example.com", reseller_id=SECOND_RESELLER), None
    )
    deliveries = await storage.mail.claim_deliveries(100, START + 2 * DAY, LEASE)
    tokens = {each.invitation_id: each.link_token for each in deliveries}
    for number, stored in enumerate(several):
        stored.token = tokens[stored.made.invitation.id]
        match number % 6:
            case 0:
                await stored.answer(now=START + 2 * DAY)
            case 1:
                await stored.answer(InvitationAction.DECLINE, now=START + 2 * DAY)
            case 2:
                await stored.revoke(START + 2 * DAY)
    # Not all that has lapsed is recorded as expired.
    assert await storage.retention.expire_invitations(NOW, 3) == 3
    rows = await asyncio.gather(*(stored.recorded() for stored in several))
    return rows[::-1]


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
async def test_each_filter_finds_what_it_says(
    storage: SqlStorage, made: list[Invitation], limit: int
) -> None:
    now = [as_of(row, NOW) for row in made]
    assert {row.state for row in now} == set(InvitationState)
    for state in (None, *InvitationState):
        for email in (None, "user1@EXAMPLE.com", "nobody@example.com"):
            expected = [
                row
                for row in now
                if state in (None, row.state)
                and (email is None or row.email.casefold() == email.casefold())
            ]
            found = await listed(storage, state, email, limit=limit)
            assert [as_of(row, NOW) for row in found] == expected


async def test_what_has_lapsed_moves_between_lists_at_its_moment(
    storage: SqlStorage, made: list[Invitation]
) -> None:
    pending = [row for row in made if row.state is PENDING]
    last = max(row.expires_at for row in pending)
    just_before = last - timedelta(microseconds=1)
    assert await listed(storage, PENDING, now=just_before)
    assert await listed(storage, PENDING, now=last) == []
    expired = await listed(storage, EXPIRED, now=last)
    assert {row.id for row in expired} >= {row.id for row in pending}


@pytest.mark.parametrize("email", [None, "user3@example.com"])
async def test_what_is_recorded_as_expired_while_a_list_is_read_is_in_it(
    storage: SqlStorage,
    made: list[Invitation],
    email: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = await listed(storage, EXPIRED, email)
    between, recorded = Event(), Event()
    fetch = Transaction.fetch

    def waiting(
        transaction: Transaction, statement: Query[Any], *args: Any, **values: Any
    ) -> list[Any]:
        rows = fetch(transaction, statement, *args, **values)
        if "address_key" in values and not between.is_set():
            between.set()
            recorded.wait(30.0)
        return rows

    monkeypatch.setattr(Transaction, "fetch", waiting)
    reading = asyncio.create_task(listed(storage, EXPIRED, email))
    await asyncio.to_thread(between.wait, 30.0)
    assert await storage.retention.expire_invitations(NOW, 1000)
    recorded.set()
    assert [row.id for row in await reading] == [row.id for row in expected]


async def test_other_resellers_are_not_listed(storage: SqlStorage, made: list[Invitation]) -> None:
    for state in (None, EXPIRED):
        found = (
            await storage.invitations.list_invitations(
                invitations(state, None, reseller_id=SECOND_RESELLER), NOW, 100, None
            )
        ).rows
        assert [row.reseller_id for row in records(found)] == [SECOND_RESELLER]
    assert (
        await storage.invitations.list_invitations(
            invitations(EXPIRED, None, reseller_id="other"), NOW, 100, None
        )
    ).rows == []


async def test_lists_by_how_e_mails_stand(storage: SqlStorage, database_url: str) -> None:
    several = [await recorded(storage, new("a@example.com", tin=str(tin))) for tin in range(12)]
    deliveries = {
        each.invitation_id: each for each in await storage.mail.claim_deliveries(12, START, LEASE)
    }
    expected: dict[DeliveryState, list[str]] = {state: [] for state in DeliveryState}
    for number, stored in enumerate(several):
        delivery = deliveries[stored.made.invitation.id]
        match number % 4:
            case 0:
                state = DeliveryState.QUEUED
            case 1:
                late = Deferral(1, "", NOW, 451, "4.7.1")
                await storage.mail.retry_delivery(delivery, NOW, START, late)
                state = DeliveryState.DEFERRED
            case _:
                await storage.mail.finish_delivery(delivery, START + MINUTE)
                state = DeliveryState.SENT
        if number in (3, 7):
            state = (DeliveryState.BOUNCED, DeliveryState.SUPPRESSED)[number // 4]
            code = DELIVERY_STATE_CODES[state]
            id_ = stored.made.customer.id
            query(
                database_url,
                "UPDATE customers SET delivery = :code WHERE id = :id",
                code=code,
                id=id_,
            )
        expected[state].insert(0, delivery.invitation_id)
    # One is sent again, which makes it one whose e-mail is on its way.
    again = expected[DeliveryState.SENT].pop()
    await next(each for each in several if each.made.invitation.id == again).resend(START + DAY)
    expected[DeliveryState.QUEUED] = sorted(
        [again, *expected[DeliveryState.QUEUED]],
        key=[each.made.invitation.id for each in several].index,
        reverse=True,
    )
    for wanted, ids in expected.items():
        for listed_state in (None, PENDING, EXPIRED):
            for email in (None, "A@example.com"):
                found: list[str] = []
                after = None
                while page := (
                    await storage.invitations.list_invitations(
                        invitations(listed_state, email, wanted), START + DAY, 2, after
                    )
                ).rows:
                    found += [each.id for each in records(page)]
                    after = page[-1].cursor
                assert found == ([] if listed_state is EXPIRED else ids)
    unsent = await storage.invitations.get_unsent(expected[DeliveryState.DEFERRED][0])
    assert unsent == EmailDelivery(
        *(DeliveryState.DEFERRED, 1, explained(451, "4.7.1"), NOW),
    )


AT = "2030-01-02T12:00:03Z"
FILTERS = (
    *(f"state = {state.name}" for state in InvitationState),
    *(f"state != {state.name}" for state in InvitationState),
    "state = PENDING OR state = EXPIRED",
    "state = EXPIRED OR state = REVOKED",
    "NOT (state = PENDING OR resendTime:*)",
    "email = user1@EXAMPLE.com OR email = user3@example.com",
    "email = user1@example.com AND NOT state = EXPIRED",
    "email = user2@example.com AND (state = PENDING OR state = EXPIRED)",
    *(f"delivery.state = {state}" for state in ("QUEUED", "DEFERRED", "SENT", "BOUNCED")),
    "delivery.state = SENT OR delivery.state = QUEUED",
    "delivery.state:* AND state = PENDING",
    f"createTime > {AT}",
    f"createTime <= {AT} AND state = ACCEPTED",
    "expireTime < 2030-01-31T12:00:02Z",
    "endTime:*",
    "resendTime:*",
)


def wanted(text: str, *, oldest_first: bool = False) -> InvitationList:
    """Returns the list that a filter asks for, as callers write it."""
    request = invitation_service_pb2.ListInvitationsRequest(
        parent=f"resellers/{RESELLER}",
        filter=text,
        order_by="create_time" if oldest_first else "",
    )
    return wanted_invitations(request)


async def with_e_mails(
    storage: SqlStorage, made: list[Invitation], database_url: str
) -> list[Invitation]:
    """Has some of their e-mails go out, wait, come back; returns all as callers see them at NOW."""
    pending = [row for row in made if as_of(row, NOW).state is PENDING]
    claimed = await storage.mail.claim_deliveries(100, START + 2 * DAY + 2 * LEASE, LEASE)
    by_invitation = {each.invitation_id: each for each in claimed}
    for row in pending[:2]:
        await storage.mail.finish_delivery(by_invitation[row.id], NOW)
    late = Deferral(1, "", NOW, 451, "4.7.1")
    await storage.mail.retry_delivery(by_invitation[pending[2].id], NOW, START, late)
    customer = await storage.customers.get_customer(pending[0].customer_id)
    assert customer
    again = resend(customer, resent_by="s", now=NOW)
    await storage.invitations.resend_invitation(
        pending[0].id, again, NOW + DAY, timedelta(0), ACTOR, None
    )
    query(
        database_url,
        "UPDATE customers SET delivery = :code WHERE id = :id",
        code=DELIVERY_STATE_CODES[DeliveryState.BOUNCED],
        id=next(row.customer_id for row in made if row.state is ACCEPTED),
    )
    shown: list[Invitation] = []
    for row in made:
        found = await storage.invitations.get_invitation(row.id)
        assert found
        found = as_of(found, NOW)
        unsent = await storage.invitations.get_unsent(row.id) if found.state is PENDING else None
        shown.append(found._replace(delivery=unsent) if unsent else found)
    return shown


async def test_each_filter_finds_what_meets_it_in_either_order(
    storage: SqlStorage,
    made: list[Invitation],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Pages that end before they are full are walked through as well.
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 7)
    shown = await with_e_mails(storage, made, database_url)
    empty = set()
    of_one = f'customer = "resellers/{RESELLER}/customers/{made[3].customer_id}"'
    for text, oldest_first in product((*FILTERS, of_one), (False, True)):
        list_ = wanted(text, oldest_first=oldest_first)
        assert list_.filter_
        expected = [row.id for row in shown if matches(list_.filter_, row.value_of)]
        if oldest_first:
            expected.reverse()
        read = partial(storage.invitations.list_invitations, list_, NOW)
        for limit in (1, 4):
            assert [each.id for each in await walk(read, limit)] == expected, (text, limit)
        empty |= set() if expected else {text}
    assert empty == set()


def many(database_url: str, number: int) -> None:
    """Adds accepted invitations, each of another address, in place of those before."""
    query(database_url, "DELETE FROM customers WHERE n > 1000000")
    query(
        database_url,
        "INSERT INTO customers (n, id, reseller, name, person, created_at, modified_at, invitation, "
        "state, has_links, email, address_key, slot, expires_at, latest, ended_at) "
        "SELECT 1000000 + i, 'bcu' || i, 1, 'N', '{}', i, i, :accepted, 2, TRUE, "
        f"'m' || i || '@example.com', i, -1000000 - i, i, 1000000 + i, i FROM "
        f"{numbers(database_url, number)}",
        accepted=INVITATION_STATE_CODES[ACCEPTED],
    )


# Of many accepted ones, newer than all others.
MANY = {
    text or "all": wanted(text)
    for text in (
        *("", "state = EXPIRED OR state = REVOKED", "email = user3@example.com"),
        *(
            "delivery.state = QUEUED",
            "delivery.state = SENT",
            "resendTime:*",
            'customer = "resellers/reseller-1/customers/b"',
        ),
        "createTime < 1960-01-01T00:00:00Z",
    )
} | {"the oldest": wanted("", oldest_first=True)}


@on_sqlite
async def test_sqlite_takes_as_many_steps_for_many_as_for_few(
    storage: SqlStorage, database_url: str, made: list[Invitation]
) -> None:
    pages = {name: InvitationPage(list_, micros(NOW), 101, None) for name, list_ in MANY.items()}
    add = partial(many, database_url)
    assert await slower_among_many(storage, list_invitations, pages, add) == set()


@on_postgresql
async def test_postgresql_reads_no_more_rows_than_a_page_looks_at(
    storage: SqlStorage, database_url: str, made: list[Invitation], rows_read: RowsRead
) -> None:
    many(database_url, 40_000)
    query(database_url, "ANALYZE customers")
    read = {
        name: await rows_read(storage.invitations.list_invitations(list_, NOW, 101, None))
        for name, list_ in MANY.items()
    }
    assert {name for name, rows in read.items() if rows > 6_000} == set(), read


@on_postgresql
async def test_postgresql_finds_what_is_on_its_way_by_its_operations(
    storage: SqlStorage, database_url: str, made: list[Invitation], rows_read: RowsRead
) -> None:
    """Of as many pending ones, whose e-mails have gone out."""
    many(database_url, 40_000)
    query(
        database_url,
        "UPDATE customers SET invitation = :pending, state = 1, ended_at = NULL, expires_at = :late "
        "WHERE n > 1000000",
        pending=INVITATION_STATE_CODES[InvitationState.PENDING],
        late=micros(NOW) * 2,
    )
    query(database_url, "ANALYZE customers")
    for text in ("delivery.state = QUEUED", "delivery.state = DEFERRED"):
        rows = await rows_read(storage.invitations.list_invitations(wanted(text), NOW, 101, None))
        assert rows < 1_000, text


@on_postgresql
async def test_postgresql_passes_by_no_e_mails_that_came_back(
    storage: SqlStorage,
    database_url: str,
    made: list[Invitation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one state, while it looks for those of the others."""
    many(database_url, 40_000)
    query(
        database_url,
        "UPDATE customers SET delivery = :code WHERE n > 1000000",
        code=DELIVERY_STATE_CODES[DeliveryState.BOUNCED],
    )
    query(database_url, "ANALYZE customers")
    bounced = wanted("delivery.state = BOUNCED")
    with reading.explained(monkeypatch, reading.pages) as pages_read:
        read = await pages_read(storage.invitations.list_invitations(bounced, NOW, 11, None))
    assert read < 200
