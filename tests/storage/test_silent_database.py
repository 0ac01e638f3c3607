"""A database whose machine hangs: it acknowledges packets, and says nothing.

Neither time-outs of TCP nor those of PostgreSQL end such a wait.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from server.domain.errors import BillingError, Reason
from server.storage.notify import postgres as signals
from server.storage.sql import batches, transactions
from server.storage.sql.transactions import Notice, Phase
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql
from tests.storage.network import Network, network
from tests.storage.records import START, invited, key, new, opened, records

pytestmark = on_postgresql

T = TypeVar("T")

IN_TIME_S = 20.0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long; a commit has longer, in which its caller is answered."""
    monkeypatch.setattr(batches, "_ANSWER_WITHIN_S", 0.6)
    monkeypatch.setattr(batches, "_LOOK_EVERY_S", 0.05)
    limits = {Phase.BEGINNING: 0.3, Phase.WORKING: 0.4, Phase.COMMITTING: 1.2}
    monkeypatch.setattr(transactions, "SILENT_S", limits)
    for name, seconds in (("_RECONNECT_S", 0.05), ("_PROBE_EVERY_S", 0.1), ("_SILENT_S", 0.3)):
        monkeypatch.setattr(signals, name, seconds)


@pytest.fixture
async def ways(
    storage: SqlStorage,  # which has none between
    database_url: str,
    hasty: None,
) -> AsyncIterator[tuple[Network, str]]:
    """A network that hangs, and an address that names it first, and then another that does not."""
    del storage, hasty
    async with network(database_url) as (hangs, first), network(database_url) as (_, second):
        url, other = make_url(first), make_url(second)
        hosts = [f"{each.host}:{each.port}" for each in (url, other)]
        yield hangs, url.set(host=None, port=None, query={"host": hosts}).render_as_string(False)


async def _refused(storage: SqlStorage) -> Reason:
    """Returns what a call with a key is refused with."""
    with pytest.raises(BillingError) as refused:
        await asyncio.wait_for(
            storage.invitations.create_invitation(new("a@example.com"), key("k")), IN_TIME_S
        )
    assert refused.value.retry_after_s
    return refused.value.reason


async def _served(call: Callable[[], Awaitable[T]]) -> T:
    """Returns what a call comes to in the end, refused or not before."""
    async with asyncio.timeout(IN_TIME_S):
        while True:
            with contextlib.suppress(BillingError):
                return await call()


@pytest.mark.parametrize("statement", [b"BEGIN", b"COPY operations"])
async def test_what_was_refused_is_not_done_when_the_database_goes_on(
    storage: SqlStorage, ways: tuple[Network, str], statement: bytes
) -> None:
    hangs, url = ways
    async with opened(url) as own:
        hangs.freeze(statement)
        calls = [
            asyncio.ensure_future(own.invitations.create_invitation(new(f"{n}@example.com"), None))
            for n in range(5)
        ]
        await asyncio.wait_for(hangs.frozen.wait(), IN_TIME_S)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        hangs.thaw()
        acknowledged = {each.id for each in outcomes if not isinstance(each, BaseException)}
        for each in outcomes:
            if isinstance(each, BaseException):
                assert isinstance(each, BillingError)
                assert each.reason is Reason.STORAGE_UNAVAILABLE
        last = await invited(own)
    found = (await storage.operations.list_operations(["reseller-1"], None, 100, None)).rows
    assert {each.id for each in records(found)} == acknowledged | {last.id}


async def test_all_are_served_by_another_server_while_one_hangs(
    ways: tuple[Network, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Those who write, who read and who sweep; no trace of a connection's end is in the log."""
    hangs, url = ways
    caplog.set_level(logging.WARNING)
    async with opened(url) as own:
        given = await invited(own)
        await own.retention.clear_operations(START, 10)
        hangs.freeze()
        await _served(lambda: invited(own))
        await _served(lambda: own.operations.get_operation(given.id))
        await _served(lambda: own.retention.clear_operations(START, 10))
        assert not hangs._flows.is_set()
    hangs.thaw()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_commit_in_doubt_says_so_and_its_key_tells_what_became_of_it(
    storage: SqlStorage, ways: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, url = ways
    # A busy machine takes its time until it commits.
    monkeypatch.setattr(batches, "_ANSWER_WITHIN_S", 4.0)
    limits = {Phase.BEGINNING: IN_TIME_S, Phase.WORKING: IN_TIME_S, Phase.COMMITTING: 8.0}
    monkeypatch.setattr(transactions, "SILENT_S", limits)
    async with opened(url) as own:
        hangs.freeze(b"COMMIT")
        assert await _refused(own) is Reason.OUTCOME_UNKNOWN
        hangs.thaw()  # the commit goes on: who repeats it meanwhile waits for it
        repeated = await _served(
            lambda: own.invitations.create_invitation(new("a@example.com"), key("k"))
        )
    found = (await storage.operations.list_operations(["reseller-1"], None, 100, None)).rows
    assert records(found) == [repeated]


async def test_the_probe_asks_the_next_server(
    ways: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, url = ways
    monkeypatch.setattr("server.storage.probe.SILENT_S", 0.2)
    async with opened(url) as own:
        assert await own.probe.probe() == ""
        hangs.freeze()
        assert "can't be reached" in await asyncio.wait_for(own.probe.probe(), IN_TIME_S)
        assert await asyncio.wait_for(own.probe.probe(), IN_TIME_S) == ""
    hangs.thaw()


async def test_words_cross_again_by_the_server_that_answers(
    storage: SqlStorage, ways: tuple[Network, str]
) -> None:
    hangs, url = ways
    async with opened(url) as own:
        await _until_heard(storage, own)
        hangs.freeze()
        with own._notifier.operation("bop00000000000000000") as heard:
            # What was told while it did not listen is lost, so that all look for themselves.
            await asyncio.wait_for(heard.wait(), IN_TIME_S)
        await _until_heard(storage, own)
        await _until_heard(own, storage)
    hangs.thaw()


async def _until_heard(sender: SqlStorage, receiver: SqlStorage) -> None:
    async with asyncio.timeout(IN_TIME_S):
        with receiver._notifier.work() as heard:
            while not heard.is_set():
                sender._notifier.publish(Notice(has_work=True))
                await asyncio.sleep(0.005)


async def test_a_storage_is_closed_while_its_database_hangs(ways: tuple[Network, str]) -> None:
    hangs, url = ways
    async with asyncio.timeout(IN_TIME_S):
        async with opened(url) as own:
            hangs.freeze()
            assert await _refused(own) is Reason.STORAGE_UNAVAILABLE
    hangs.thaw()
