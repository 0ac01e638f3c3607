"""Limits of e-mails and customers, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.domain.access import Actor
from server.domain.customers import create_reseller_served
from server.domain.errors import BillingError, Reason
from server.domain.invitations import NewInvitation, resend
from server.domain.limits import SPREAD_BY, Limits
from server.domain.operations import CANCELLED, Operation
from server.storage import open_storage
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.overlap import overlapping
from tests.storage.records import (
    ACTOR,
    DAY,
    KEY_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    key,
    new,
)
from tests.storage.stored_invitation import StoredInvitation, recorded, refused, sent

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
TO = "Ostap@Example.com"
LIMITS = Limits(3, 5, 8, 6)


@pytest.fixture
async def limited(storage: SqlStorage, database_url: str) -> AsyncIterator[SqlStorage]:
    """A process with small limits."""
    process = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=LIMITS)
    yield process
    await process.close()


def to(number: int, now: datetime = START, **changes: Any) -> NewInvitation:
    """Returns an invitation to the one address, with a tax number of its own."""
    return new(TO, tin=f"{number}", now=now, **changes)


async def reached(call: Awaitable[object]) -> tuple[str, float]:
    """Returns which limit refused the call, and for how many seconds; 0: for good."""
    with pytest.raises(BillingError) as refused:
        await call
    assert refused.value.reason in (Reason.MAIL_LIMIT_REACHED, Reason.CUSTOMER_LIMIT_REACHED)
    return refused.value.metadata["limit"], refused.value.retry_after_s or 0


def sound(database_url: str) -> bool:
    return not any(each.count for each in check(database_url))


async def test_an_address_gets_so_many_from_all_resellers_together(
    limited: SqlStorage, database_url: str
) -> None:
    await limited.invitations.create_invitation(to(1), None)
    await limited.invitations.create_invitation(to(2, reseller_id=SECOND_RESELLER), None)
    # The same address, as it is compared everywhere.
    await limited.invitations.create_invitation(new("ostap@example.COM", tin="3"), None)
    for reseller_id in (RESELLER, SECOND_RESELLER):
        limit, wait_s = await reached(
            limited.invitations.create_invitation(to(4, reseller_id=reseller_id), None)
        )
        assert limit == "MAIL_PER_ADDRESS_H"
        assert wait_s == HOUR.total_seconds()
    await limited.invitations.create_invitation(new("bender@example.com"), None)
    assert sound(database_url)
    # It is told when to come, to the second.
    wait = timedelta(seconds=wait_s)
    await reached(
        limited.invitations.create_invitation(to(4, START + wait - timedelta(seconds=1)), None)
    )
    await limited.invitations.create_invitation(to(4, START + wait), None)
    text = query(database_url, "SELECT scope FROM counts WHERE scope LIKE 'address/%'")
    assert not any("example" in scope.lower() for (scope,) in text)


async def test_no_hour_has_more_whenever_it_begins(storage: SqlStorage, database_url: str) -> None:
    """Not at the hour's edge either, where a new count would begin."""
    limits = Limits(mail_per_address_h=3)
    process = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=limits)
    accepted: list[datetime] = []
    at = START
    while at < START + 4 * HOUR:
        with suppress(BillingError):
            await process.invitations.create_invitation(to(len(accepted), at), None)
            accepted.append(at)
        at += 7 * MINUTE
    for first in accepted:
        assert sum(first <= each < first + HOUR for each in accepted) <= 3
    assert len(accepted) >= 9
    await process.close()


async def test_what_counts_is_what_is_accepted(limited: SqlStorage, database_url: str) -> None:
    """Inviting and taking back in turn counts; what is refused or repeated does not."""
    # Cancelled before it was sent: there was no e-mail.
    cancelled = await limited.invitations.create_invitation(to(9), None)
    await limited.operations.cancel_operation(cancelled.id, START, ACTOR, None)
    for number in range(3):
        made = to(number)
        operation = await limited.invitations.create_invitation(made, key(f"{number}"))
        assert await limited.invitations.create_invitation(made, key(f"{number}")) == operation
        if number == 0:
            with pytest.raises(BillingError) as refused:
                await limited.invitations.create_invitation(to(0), None)
            assert refused.value.reason is Reason.INVITATION_OPEN
        await limited.invitations.revoke_invitation(made.invitation.id, START, ACTOR, None)
    assert await reached(limited.invitations.create_invitation(to(4), key("4")))
    # The refused one has left nothing behind, not even its key.
    await limited.invitations.create_invitation(
        to(4, START + 2 * HOUR), key("4", "another request")
    )
    assert sound(database_url)


async def test_e_mails_sent_again_count_for_their_address(
    limited: SqlStorage, database_url: str
) -> None:
    stored = await sent(limited, to(1))
    for number in (1, 2):
        await stored.resend(START + number * MINUTE)
        await stored.deliver(START + number * MINUTE)
    before = await stored.recorded()
    limit, wait_s = await reached(stored.resend(START + 3 * MINUTE))
    assert (limit, bool(wait_s)) == ("MAIL_PER_ADDRESS_H", True)
    assert await stored.recorded() == before
    assert await stored.resend(START + 2 * HOUR)
    assert sound(database_url)


async def correct(stored: StoredInvitation, email: str) -> None:
    operation = resend(stored.made.customer, resent_by="s", now=START)
    await stored.storage.invitations.correct_invitation(
        *(stored.made.invitation.id, email, operation, START + DAY, ACTOR, None)
    )


@pytest.fixture
async def by_address(storage: SqlStorage, database_url: str) -> AsyncIterator[SqlStorage]:
    """A process with a small limit for each address alone."""
    limits = Limits(mail_per_address_h=3)
    process = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=limits)
    yield process
    await process.close()


async def test_an_address_goes_on_counting_what_it_got_before_a_correction(
    by_address: SqlStorage, database_url: str
) -> None:
    """Else whoever invites and corrects in turn could send it any number."""
    for number in range(3):
        stored = await sent(by_address, to(number))
        await correct(stored, f"{number}@example.com")
        await stored.deliver()
    limit, wait_s = await reached(by_address.invitations.create_invitation(to(4), None))
    assert limit == "MAIL_PER_ADDRESS_H"
    assert sound(database_url)
    later = START + timedelta(seconds=wait_s)
    await by_address.invitations.create_invitation(to(4, later), None)


async def test_a_correction_counts_once_for_the_new_address(by_address: SqlStorage) -> None:
    """Also where it takes the last place, and goes on from there."""
    for number in range(2):
        await sent(by_address, to(number))
    stored = await sent(by_address, new(tin="2"))
    await correct(stored, TO)
    await stored.deliver()
    assert await reached(by_address.invitations.create_invitation(to(4), None))
    await correct(stored, "right@example.com")
    await stored.deliver()
    assert await reached(by_address.invitations.create_invitation(to(4), None))
    for number in range(2):
        await by_address.invitations.create_invitation(
            new("right@example.com", tin=f"{number}"), None
        )
    assert await reached(
        by_address.invitations.create_invitation(new("right@example.com", tin="4"), None)
    )


async def test_an_e_mail_that_waited_counts_where_it_goes(by_address: SqlStorage) -> None:
    await correct(await recorded(by_address, to(0)), "right@example.com")
    for number in range(1, 4):
        await by_address.invitations.create_invitation(to(number), None)
    for number in range(1, 3):
        await by_address.invitations.create_invitation(
            new("right@example.com", tin=f"{number}"), None
        )
    assert await reached(
        by_address.invitations.create_invitation(new("right@example.com", tin="4"), None)
    )


async def test_a_correction_of_the_case_alone_counts_once(by_address: SqlStorage) -> None:
    await correct(await sent(by_address, to(0)), TO.lower())
    await by_address.invitations.create_invitation(to(1), None)
    assert await reached(by_address.invitations.create_invitation(to(2), None))


async def test_a_correction_that_is_refused_does_not_count(by_address: SqlStorage) -> None:
    await sent(by_address, to(1))
    there = await sent(by_address, new(tin="1"))
    under_way = await recorded(by_address, new(tin="2"))
    await under_way.claim()
    for stored, reason in (
        (there, Reason.INVITATION_OPEN),
        (under_way, Reason.MAIL_UNDER_WAY),
    ):
        for _ in range(3):
            assert (await refused(correct(stored, TO))).reason is reason
    for number in (2, 3):
        await by_address.invitations.create_invitation(to(number), None)


async def test_a_reseller_sends_so_many_an_hour_and_a_day(limited: SqlStorage) -> None:
    for _ in range(5):
        await limited.invitations.create_invitation(new(), None)
    limit, wait_s = await reached(limited.invitations.create_invitation(new(), None))
    assert limit == "MAIL_PER_RESELLER_H"
    await limited.invitations.create_invitation(new(reseller_id=SECOND_RESELLER), None)
    later = START + timedelta(seconds=wait_s)
    await limited.invitations.create_invitation(new(now=later), None)
    assert await reached(limited.invitations.create_invitation(new(now=later), None)) == (
        "CUSTOMERS_PER_RESELLER",
        0,
    )


async def test_the_limit_of_a_day_is_refused_until_there_is_room(
    storage: SqlStorage, database_url: str
) -> None:
    limits = Limits(mail_per_reseller_d=2)
    process = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=limits)
    for _ in range(2):
        await process.invitations.create_invitation(new(), None)
    limit, wait_s = await reached(process.invitations.create_invitation(new(now=START + DAY), None))
    assert limit == "MAIL_PER_RESELLER_D"
    assert 0 < wait_s <= 2 * HOUR.total_seconds()
    await process.invitations.create_invitation(
        new(now=START + DAY + timedelta(seconds=wait_s)), None
    )
    await process.close()


async def test_many_at_once_are_spread_over_two_hours(
    storage: SqlStorage, database_url: str
) -> None:
    """From a thousand an hour on: as many again go out an hour later, and only then are more refused."""
    limits = Limits(mail_per_reseller_h=1000)
    process = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=limits)
    for _ in range(20):
        await asyncio.gather(
            *(process.invitations.create_invitation(new(), None) for _ in range(100))
        )
    assert await reached(process.invitations.create_invitation(new(), None))
    assert len(await process.mail.claim_deliveries(3000, START, LEASE, 2 * SPREAD_BY)) == 1000
    assert len(await process.mail.claim_deliveries(3000, START + SPREAD_BY, LEASE)) == 2000
    await process.close()


async def test_customers_are_counted_as_they_come_and_go(
    limited: SqlStorage, database_url: str
) -> None:
    def served() -> Awaitable[Operation]:
        made = create_reseller_served(
            reseller_id=RESELLER, name="Customer", person={}, actor=Actor("s"), now=START
        )
        return limited.customers.create_customer(made, None)

    for _ in range(5):
        await served()
    refused = await limited.invitations.create_invitation(new(), None)
    for call in (served(), limited.invitations.create_invitation(new(), None)):
        assert await reached(call) == ("CUSTOMERS_PER_RESELLER", 0)
    delivery = await claimed(limited)
    assert delivery.operation_id == refused.id
    assert await limited.mail.fail_delivery(delivery, CANCELLED, START)
    assert sound(database_url)
    cancelled = await limited.invitations.create_invitation(new(), None)
    await limited.operations.cancel_operation(cancelled.id, START, ACTOR, None)
    await served()
    assert await reached(served())
    assert query(database_url, "SELECT count FROM counts WHERE scope LIKE 'customers/%'") == [(6,)]
    assert sound(database_url)


async def test_counts_are_cleared_when_their_time_is_over(
    limited: SqlStorage, database_url: str
) -> None:
    await limited.invitations.create_invitation(to(1), None)
    await limited.invitations.create_invitation(to(2, START + DAY), None)
    assert await limited.retention.clear_counts(START + DAY, 10) == 2
    assert await limited.retention.clear_counts(START + 3 * DAY, 2) == 2
    assert await limited.retention.clear_counts(START + 3 * DAY, 10) > 0
    assert query(database_url, "SELECT scope FROM counts") == [(f"customers/{RESELLER}",)]
    assert sound(database_url)


async def test_limits_hold_over_processes_and_batches(
    storage: SqlStorage, database_url: str
) -> None:
    limits = Limits(7, 0, 0, 100)
    processes = [
        await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME, limits=limits)
        for _ in range(3)
    ]
    outcomes = await asyncio.gather(
        *(
            processes[number % 3].invitations.create_invitation(to(number), None)
            for number in range(60)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Operation) for each in outcomes) == 7
    assert {each.reason for each in outcomes if isinstance(each, BillingError)} == {
        Reason.MAIL_LIMIT_REACHED
    }
    for process in processes:
        await process.close()
    assert sound(database_url)


@pytest.mark.parametrize("what", ["address", "reseller", "customers", "resend"])
async def test_the_last_place_is_given_once(
    storage: SqlStorage, database_url: str, what: str
) -> None:
    """The second transaction reads before the first commits, and counts after."""
    limits = {
        "address": Limits(mail_per_address_h=2),
        "resend": Limits(mail_per_address_h=2),
        "reseller": Limits(mail_per_reseller_h=2),
        "customers": Limits(customers_per_reseller=2),
    }[what]
    async with overlapping(database_url, limits) as overlap:
        stored = await sent(overlap.first, to(1))
        second = overlap.second.invitations.create_invitation(to(2), None)
        if what == "resend":
            second.close()
            outcome = await overlap.run(
                overlap.first.invitations.create_invitation(to(3), None),
                stored.seen_by(overlap.second).resend(START),
            )
        else:
            outcome = await overlap.run(
                overlap.first.invitations.create_invitation(to(3), None), second
            )
        assert isinstance(outcome.first, Operation)
        assert outcome.waited
        assert isinstance(outcome.second, BillingError)
        assert outcome.second.reason in (Reason.MAIL_LIMIT_REACHED, Reason.CUSTOMER_LIMIT_REACHED)
    assert sound(database_url)
