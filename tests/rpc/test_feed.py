"""What the one reader of a log keeps for streams that are a little behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.domain.access import Actor, Role, RoleBinding
from server.domain.events import Event, EventType
from server.domain.filters import Filter
from server.rpc.streams import feed
from server.rpc.streams.feed import Feed
from server.storage.interface import EventPage, LogBounds
from tests.events import AT

_DATA = RoleBinding("ajesubject", "reseller-1", Role.VIEWER, AT)


class Log:
    """A log of ten events, which is read once all who are awaited have asked for it."""

    def __init__(self, readers: int = 1) -> None:
        self._barrier = asyncio.Barrier(readers)

    async def read(self, after: int, filter_: Filter | None, limit: int) -> EventPage:
        del filter_, limit
        await self._barrier.wait()
        made = [
            Event(
                *("reseller-1", number, EventType.ACCESS_GRANTED, AT, Actor("operator:test")),
                *(None, None, _DATA),
            )
            for number in range(after + 1, 11)
        ]
        return EventPage(made, 10, LogBounds(0, 10))


@asynccontextmanager
async def feeding(log: Log) -> AsyncIterator[Feed]:
    made = Feed(0, log.read)
    try:
        yield made
    finally:
        await made.close()


def kept(of: Feed) -> list[int]:
    return [number for number in range(1, 11) if of.event(number)]


@pytest.mark.parametrize(("limit", "count"), [("MOST_KEPT", 3), ("MOST_KEPT_BYTES", 1)])
async def test_the_latest_events_are_kept(
    monkeypatch: pytest.MonkeyPatch, limit: str, count: int
) -> None:
    monkeypatch.setattr(feed, limit, count)
    async with feeding(Log()) as made:
        await made.catch_up()
        first = 11 - count
        assert kept(made) == list(range(first, 11))
        assert made.covers(first - 1)
        assert not made.covers(first - 2)


async def test_what_two_read_at_the_same_time_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with feeding(Log()) as alone:
        await alone.catch_up()
        monkeypatch.setattr(feed, "MOST_KEPT_BYTES", alone._bytes)
    async with feeding(Log(readers=2)) as made:
        await asyncio.gather(made.catch_up(), made.catch_up())
        assert kept(made) == list(range(1, 11))
