"""What is told before and after an invitation ends, on SQLite and PostgreSQL."""

import asyncio

import pytest

from server.domain.access import INVITEE, SERVICE, Actor
from server.domain.events import Event, EventType
from server.domain.invitations import InvitationState, link_token_hash
from server.storage.storage import SqlStorage
from tests.storage.events.reading import logged
from tests.storage.records import DAY, INVITATION_LIFETIME, START, new
from tests.storage.stored_invitation import LAPSES_AT, MINUTE, StoredInvitation, sent

pytestmark = pytest.mark.usefixtures("consistent")

OWNER = Actor(INVITEE, None, "request")


async def told(storage: SqlStorage, type_: EventType) -> list[Event]:
    return [event for event in await logged(storage) if event.type is type_]


async def test_each_end_is_told_of_once_three_days_before(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    several = [await sent(storage, new(now=START + number // 2 * MINUTE)) for number in range(5)]
    await several[4].revoke(START + DAY)
    early = LAPSES_AT - 3 * DAY - MINUTE
    assert await storage.retention.tell_expiring(early, 10) == 0
    counts = await asyncio.gather(
        *(each.retention.tell_expiring(early + MINUTE, 10) for each in (storage, other_process))
    )
    assert sum(counts) == 2
    # A batch takes all that end at the same moment.
    assert await storage.retention.tell_expiring(early + DAY, 1) == 2
    assert await storage.retention.tell_expiring(early + DAY, 10) == 0
    events = await told(storage, EventType.INVITATION_EXPIRING)
    assert [event.customer_id for event in events] == [
        each.made.customer.id for each in several[:4]
    ]
    assert events[0].actor == Actor(SERVICE)
    assert events[0].data == await several[0].recorded()
    # Sent again it has another end.
    await several[0].resend(early + DAY)
    end = early + DAY + INVITATION_LIFETIME
    assert await storage.retention.tell_expiring(end - 3 * DAY, 10) == 1


async def test_an_invitation_that_has_lapsed_is_not_told_to_end_soon(storage: SqlStorage) -> None:
    await sent(storage)
    assert await storage.retention.tell_expiring(LAPSES_AT + DAY, 10) == 0


async def asked(stored: StoredInvitation, days: int = 31, token: str = "") -> bool:
    link = link_token_hash(token or stored.token)
    return await stored.storage.invitations.request_renewal(link, START + days * DAY, OWNER)


async def test_the_invitee_asks_for_a_new_one(storage: SqlStorage) -> None:
    stored = await sent(storage)
    assert not await asked(stored, days=29)
    assert not await asked(stored, token="a" * 32)
    for _ in range(3):
        assert await asked(stored)
    (event,) = await told(storage, EventType.INVITATION_RENEWAL_REQUESTED)
    now = await stored.recorded()
    assert now.state is InvitationState.EXPIRED
    assert (event.actor, event.data) == (OWNER, now)
    assert len(await told(storage, EventType.INVITATION_EXPIRED)) == 1


@pytest.mark.parametrize("action", ["accept", "decline", "revoke"])
async def test_of_what_ended_otherwise_there_is_no_new_one(
    storage: SqlStorage, action: str
) -> None:
    stored = await sent(storage)
    await stored.act(action)
    assert not await asked(stored)
    assert await told(storage, EventType.INVITATION_RENEWAL_REQUESTED) == []
