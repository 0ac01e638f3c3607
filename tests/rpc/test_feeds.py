"""The feeds of a process: each is read when its log has grown, as long as somebody follows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.filters import Filter
from server.rpc.streams import feeds
from server.rpc.streams.feed import Feed
from server.rpc.streams.feeds import Feeds
from server.storage.interface import EventPage
from server.storage.storage import SqlStorage
from server.use_cases.events import Events
from tests.events import forget_events, happen, series
from tests.rpc.conftest import Api
from tests.storage.records import until

RESELLER, OTHER = "reseller-1", "reseller-2"


class Waiting:
    """A stream that only waits."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()

    def end(self, error: BillingError) -> None:
        raise error


@pytest.fixture(autouse=True)
async def empty_logs(api: Api) -> None:
    await forget_events(api.storage)


@pytest.fixture
def made(api: Api) -> Feeds:
    return Feeds(Events(api.storage.events))


@asynccontextmanager
async def following(
    made: Feeds, reseller_id: str = RESELLER
) -> AsyncIterator[tuple[Feed, Waiting]]:
    """Follows a log that is empty, for as long as the block lasts."""
    follower = Waiting()
    feed = made.follow(reseller_id, 0, follower)
    try:
        async with asyncio.timeout(30):
            yield feed, follower
    finally:
        await made.leave(reseller_id, feed, follower)


async def test_a_signal_has_a_feed_read_at_once(
    api: Api, made: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_LOOK_EVERY_S", 3600.0)
    async with following(made) as (feed, follower), following(made, OTHER) as (other, _):
        await happen(api.storage, *series(RESELLER, 2))
        await follower.woken.wait()
        assert (feed.read_to, other.read_to) == (2, 0)


async def test_who_leaves_takes_the_feed_from_nobody_else(api: Api, made: Feeds) -> None:
    async with following(made) as (feed, follower):
        async with following(made) as (same, _):
            assert same is feed
        await happen(api.storage, *series(RESELLER, 1))
        await follower.woken.wait()
        assert feed.read_to == 1


async def test_a_feed_that_nobody_follows_is_read_no_more(api: Api, made: Feeds) -> None:
    async with following(made) as (feed, _):
        pass
    assert feed._reading.done()
    await happen(api.storage, *series(RESELLER, 1))
    async with following(made) as (another, _):
        assert another is not feed
    assert feed.read_to == 0


async def test_logs_are_looked_at_by_one_and_again_after_all_have_left(
    api: Api, made: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals may be lost: here all are."""
    monkeypatch.setattr(feeds, "_LOOK_EVERY_S", 0.01)
    cast("SqlStorage", api.storage)._notifier.on_log.clear()
    async with following(made):
        looking = made._looking
        async with following(made, OTHER):
            assert made._looking is looking
    async with asyncio.timeout(30):
        await until(lambda: made._looking is None)
    async with following(made) as (_, follower):
        await happen(api.storage, *series(RESELLER, 1))
        await follower.woken.wait()


async def test_a_log_that_cannot_be_read_keeps_no_other_from_its_end(
    api: Api, made: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_LOOK_EVERY_S", 3600.0)
    cast("SqlStorage", api.storage)._notifier.on_log.clear()
    list_events = api.storage.events.list_events

    async def list_some(
        reseller_id: str, after: int, filter_: Filter | None, limit: int
    ) -> EventPage:
        if reseller_id == RESELLER:
            raise BillingError(Reason.OVERLOADED, "Try again.")
        return await list_events(reseller_id, after, filter_, limit)

    monkeypatch.setattr(api.storage.events, "list_events", list_some)
    async with following(made) as (feed, _), following(made, OTHER) as (other, _):
        await happen(api.storage, *series(RESELLER, 1), *series(OTHER, 3))
        await made.catch_up()
        assert (feed.read_to, other.read_to) == (0, 3)
