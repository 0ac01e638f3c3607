"""Lists of invitations, on SQLite and PostgreSQL."""

import asyncio
from datetime import datetime, timedelta

import pytest

from server.domain.invitations import Invitation, InvitationAction, InvitationState, as_of
from server.domain.mail import DeliveryState, EmailDelivery, explained
from server.domain.operations import Deferral
from server.storage.schema.codes import DELIVERY_STATE_CODES
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import (
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
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
        page = await storage.invitations.list_invitations(RESELLER, state, email, now, limit, after)
        assert len(page) <= limit
        rows += records(page)
        if len(page) < limit:
            return rows
        after = page[-1].cursor


@pytest.fixture
async def made(storage: SqlStorage) -> list[Invitation]:
    """Invitations of two days in all states, newest first, as they are at NOW."""
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


async def test_other_resellers_are_not_listed(storage: SqlStorage, made: list[Invitation]) -> None:
    for state in (None, EXPIRED):
        found = await storage.invitations.list_invitations(
            SECOND_RESELLER, state, None, NOW, 100, None
        )
        assert [row.reseller_id for row in records(found)] == [SECOND_RESELLER]
    assert await storage.invitations.list_invitations("other", EXPIRED, None, NOW, 100, None) == []


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
                while page := await storage.invitations.list_invitations(
                    RESELLER, listed_state, email, START + DAY, 2, after, wanted
                ):
                    found += [each.id for each in records(page)]
                    after = page[-1].cursor
                assert found == ([] if listed_state is EXPIRED else ids)
    unsent = await storage.invitations.get_unsent(expected[DeliveryState.DEFERRED][0])
    assert unsent == EmailDelivery(
        *(DeliveryState.DEFERRED, 1, explained(451, "4.7.1"), NOW),
    )
