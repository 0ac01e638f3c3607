"""A connection that breaks during a commit: whether it took place is not known to the storage."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from server.domain.errors import BillingError, Reason
from server.storage import migrate
from server.storage.sql.batches import Batcher
from server.storage.sql.connections import Database
from server.storage.sql.statements import Transaction
from server.storage.storage import SqlStorage
from tests.chaos.postgres import postgres
from tests.storage.databases import on_postgresql, query
from tests.storage.network import Network, network
from tests.storage.overlap import IN_TIME_S
from tests.storage.records import (
    ACTOR,
    LEASE,
    START,
    add_reseller,
    invited,
    key,
    new,
    opened,
    records,
)
from tests.storage.stored_invitation import MINUTE, StoredInvitation, sent
from tests.storage.test_customers import new_customer


@pytest.fixture
async def way(storage: SqlStorage, database_url: str) -> AsyncIterator[tuple[Network, str]]:
    """A network to the database, where `storage` has none between."""
    async with network(database_url) as found:
        yield found


def _writes(
    stored: StoredInvitation,
) -> dict[str, Callable[[SqlStorage], Coroutine[Any, Any, Any]]]:
    """Returns calls that change something, by name."""
    invitation = stored.made.invitation
    return {
        "invite": lambda own: own.invitations.create_invitation(new("a@example.com"), None),
        "create": lambda own: own.customers.create_customer(new_customer(), None),
        "cancel": lambda own: own.operations.cancel_operation(
            stored.made.operation.id, START, ACTOR, None
        ),
        "resend": lambda own: stored.seen_by(own).resend(START + MINUTE),
        "revoke": lambda own: own.invitations.revoke_invitation(
            invitation.id, START + MINUTE, ACTOR, None
        ),
        "claim": lambda own: own.mail.claim_deliveries(10, START, LEASE),
    }


@on_postgresql
@pytest.mark.parametrize("name", ["invite", "create", "cancel", "resend", "revoke", "claim"])
async def test_a_commit_whose_answer_is_lost_is_not_repeated(
    storage: SqlStorage, way: tuple[Network, str], name: str
) -> None:
    stored = await sent(storage)
    lossy, url = way
    async with opened(url) as own:
        lossy.lose_answer_to(b"COMMIT")
        with pytest.raises(BillingError) as refused:
            await _writes(stored)[name](own)
        assert refused.value.reason is Reason.OUTCOME_UNKNOWN
        assert refused.value.retry_after_s
        assert lossy.sent.count(b"COMMIT") == 1
        # The next call is served on a new connection.
        await invited(own)
        assert lossy.sent.count(b"COMMIT") == 2


@on_postgresql
async def test_what_was_committed_without_an_answer_is_there(
    storage: SqlStorage, way: tuple[Network, str]
) -> None:
    lossy, url = way
    given = new()
    async with opened(url) as own:
        lossy.lose_answer_to(b"COMMIT")
        with pytest.raises(BillingError):
            await own.invitations.create_invitation(given, key("k"))
        assert await storage.operations.get_operation(given.operation.id) == given.operation
        # So who has sent a key may ask again.
        assert (
            await own.invitations.create_invitation(new(given.invitation.email), key("k"))
            == given.operation
        )


@on_postgresql
async def test_none_of_a_batch_is_repeated(
    way: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy, url = way
    all_queued = threading.Event()
    begin = Database.begin
    runs: list[list[int]] = []

    def beginning(self: Database, cursor: Any) -> None:
        all_queued.wait(IN_TIME_S)
        begin(self, cursor)

    def note(_: Transaction, batch: Sequence[int]) -> list[int]:
        runs.append(list(batch))
        return list(batch)

    monkeypatch.setattr(Database, "begin", beginning)
    batcher = Batcher(Database(url), "test", writes=True)
    lossy.lose_answer_to(b"COMMIT")
    calls = [batcher.submit(note, number) for number in range(3)]
    all_queued.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(each, "reason", each) for each in outcomes] == [Reason.OUTCOME_UNKNOWN] * 3
    assert runs == [[0, 1, 2]]
    await batcher.close()


@on_postgresql
async def test_what_breaks_before_the_commit_is_done_on_a_new_connection(
    storage: SqlStorage, way: tuple[Network, str]
) -> None:
    lossy, url = way
    async with opened(url) as own:
        lossy.lose_answer_to(b"COPY operations")
        given = await invited(own)
        assert lossy.sent.count(b"COPY operations") == 2
        assert lossy.sent.count(b"COMMIT") == 1
    found = (await storage.operations.list_operations(["reseller-1"], None, 100, None)).rows
    assert records(found) == [given]


async def test_a_commit_that_its_standby_has_not_got_is_in_doubt() -> None:
    """PostgreSQL answers it as done, with a warning, once somebody has broken its wait off."""
    syncing = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with postgres() as server:
        migrate(server.url)
        add_reseller(server.url)
        async with opened(server.url) as own:
            await invited(own)
            server.run("ALTER SYSTEM SET synchronous_standby_names = 'away'")
            server.run("SELECT pg_reload_conf()")
            call = asyncio.create_task(invited(own))
            async with asyncio.timeout(IN_TIME_S):
                while not call.done():
                    await asyncio.to_thread(query, server.url, syncing)
            with pytest.raises(BillingError) as refused:
                await call
            assert refused.value.reason is Reason.OUTCOME_UNKNOWN
