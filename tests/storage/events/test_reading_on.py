"""Nobody who reads on misses an event, whatever becomes of those who write.

Transactions are held open and end late and out of order; processes are killed, backends terminated.
One reader lists from its last event on at each step, another watches the stream.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from billing.v1 import event_pb2, event_service_pb2

from server.config import Settings
from server.domain.events import event_id
from server.storage.storage import SqlStorage
from tests.rpc.conftest import Api, serving
from tests.storage.databases import query
from tests.storage.events.reading import logged
from tests.storage.events.writer import Writer, Writers, writing
from tests.storage.overlap import IN_TIME_S
from tests.storage.records import RESELLER, new

PARENT = f"resellers/{RESELLER}"
# Where a transaction is held: its changes are made, and it has no lock that others need; or it has its
# number in the log, and all locks.
EARLY, LATE = "INSERT INTO counts", "COMMIT"


class End(Enum):
    """What becomes of a transaction that was held."""

    COMMITS = auto()
    KILLED = auto()  # its process, with SIGKILL
    TERMINATED = auto()  # its backend, by PostgreSQL
    UNHEARD = auto()  # it commits, and its process is killed before anybody is told


class Seen:
    """The events that a reader has got, in the order in which it got them."""

    def __init__(self) -> None:
        self.events: list[event_pb2.Event] = []
        self._came = asyncio.Condition()

    @property
    def customers(self) -> list[str]:
        return [name.rpartition("/")[2] for name in (each.customer for each in self.events) if name]

    @property
    def last(self) -> str:
        return self.events[-1].name if self.events else ""

    async def add(self, event: event_pb2.Event) -> None:
        self.events.append(event)
        async with self._came:
            self._came.notify_all()

    async def until(self, last: str) -> None:
        """Waits for an event, by its name."""
        async with asyncio.timeout(IN_TIME_S), self._came:
            await self._came.wait_for(lambda: self.last == last)


async def list_on(api: Api, seen: Seen) -> None:
    """Lists all that comes after the last event, in small pages."""
    token = ""
    after = seen.last
    while True:
        page: Any = await api.events.ListEvents(
            event_service_pb2.ListEventsRequest(
                parent=PARENT, after=after, page_size=2, page_token=token
            ),
            metadata=api.as_("reader"),
        )
        for event in page.events:
            await seen.add(event)
        token = page.next_page_token
        if not token:
            return


@asynccontextmanager
async def watching(api: Api) -> AsyncIterator[Seen]:
    """A stream from the beginning on."""
    seen = Seen()
    call = api.events.WatchEvents(
        event_service_pb2.WatchEventsRequest(parent=PARENT), metadata=api.as_("reader")
    )

    async def watch() -> None:
        async for message in call:
            if message.HasField("event"):
                await seen.add(message.event)

    watches = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watches.cancel()
        call.cancel()


class Held:
    """A transaction that a process has begun and not ended."""

    def __init__(self, database_url: str, writers: Writers, end: End) -> None:
        self._database_url = database_url
        self._writers = writers
        self._writer: Writer = writers.get()
        self._end = end
        self.customer = ""

    async def begin(self, stop_before: str) -> None:
        dies = self._end is End.UNHEARD
        self.customer = await self._writer.hold(stop_before, dies=dies)

    async def end(self) -> bool:
        """Has it end; returns whether it was recorded."""
        match self._end:
            case End.KILLED:
                await self._writer.kill()
                return False
            case End.UNHEARD:
                await self._writer.go_on_to_death()
                return True
            case End.TERMINATED:
                for backend in self._writer.backends:
                    query(self._database_url, f"SELECT pg_terminate_backend({backend}, 5000)")
        recorded = await self._writer.go_on()
        self._writers.give_back(self._writer)
        return recorded


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(Settings(var=tmp_path, database_url=database_url, rate_limit=0)) as api:
        yield api


class Log:
    """What is recorded and what is lost, and what a reader has listed of it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.recorded: list[str] = []
        self.lost: list[str] = []
        self.listed = Seen()

    async def look(self) -> None:
        """Lists on; all that is recorded must be there, in its order, and nothing else."""
        await list_on(self._api, self.listed)
        assert self.listed.customers == self.recorded

    async def run(self, *held: tuple[Held, str]) -> None:
        """Holds transactions at places, has another one wait for them, and ends the last one first."""
        for each, place in held:
            await each.begin(place)
        made = new()
        waiting = asyncio.create_task(self._api.storage.invitations.create_invitation(made, None))
        await self.look()
        for each, _ in reversed(held):
            (self.recorded if await each.end() else self.lost).append(each.customer)
            if made.customer.id not in self.recorded:
                await waiting
                self.recorded.append(made.customer.id)
            await self.look()


async def test_nobody_misses_an_event_of_whoever_commits_late_or_dies(
    api: Api, database_url: str
) -> None:
    sqlite = database_url.startswith("sqlite")
    ends = [end for end in End if not (sqlite and end is End.TERMINATED)]
    log = Log(api)
    with writing(database_url) as writers:
        async with watching(api) as watched:
            for first, second in product(ends, ends):
                early = Held(database_url, writers, first), EARLY
                late = Held(database_url, writers, second), LATE
                if sqlite:  # has one writer, so one ends before the other begins
                    await log.run(early)
                    await log.run(late)
                else:
                    await log.run(early, late)
            await watched.until(log.listed.last)
    assert watched.events == log.listed.events
    assert not set(log.recorded) & set(log.lost)
    assert isinstance(api.storage, SqlStorage)
    numbers = [event.number for event in await logged(api.storage)]
    assert numbers == list(range(1, len(log.listed.events) + 1))
    ids = [event.name.rpartition("/")[2] for event in log.listed.events]
    assert ids == [event_id(RESELLER, number) for number in numbers]
