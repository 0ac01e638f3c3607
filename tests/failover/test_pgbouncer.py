"""Through PgBouncer in transaction mode, each transaction may have another session."""

import asyncio
from collections.abc import Iterator

import pytest

from server.storage import migrate, open_storage
from server.storage.check import check
from server.storage.sql.transactions import Notice
from tests.chaos.postgres import Postgres, postgres
from tests.failover.parts import PartsMissingError, program
from tests.failover.pgbouncer import pgbouncer
from tests.storage.records import (
    KEY_LIFETIME,
    LEASE,
    RESELLER,
    START,
    add_reseller,
    invited,
)

# Fewer sessions than a storage has connections, so that they change hands.
_SESSIONS = 2
_IN_TIME_S = 20.0


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        migrate(server.url)
        add_reseller(server.url)
        yield server


@pytest.fixture(scope="module")
def pooled(database: Postgres) -> Iterator[str]:
    try:
        program("pgbouncer")
    except PartsMissingError as error:
        pytest.skip(f"PgBouncer can't be had here, so nothing is tried through it: {error}")
    server = f"host={database.data.parent} user=postgres dbname=postgres"
    with pgbouncer(server, database.user, _SESSIONS) as url:
        yield url


async def test_all_is_done_and_found_without_a_session(database: Postgres, pooled: str) -> None:
    """Each kind of statement more often than after which the driver would prepare it."""
    storage = await open_storage(pooled, idempotency_lifetime=KEY_LIFETIME, pooled=True)
    try:
        for _ in range(10):
            given = await asyncio.gather(*(invited(storage) for _ in range(10)))
            for each in given:
                assert await storage.operations.get_operation(each.id) == each
            claimed = await storage.mail.claim_deliveries(10, START, LEASE)
            assert len(claimed) == 10
            for delivery in claimed:
                await storage.mail.finish_delivery(delivery, START)
            await storage.operations.list_operations([RESELLER], None, 10, None)
            await storage.retention.clear_operations(START, 10)
        assert await storage.probe.probe() == ""
    finally:
        await storage.close()
    migrate(pooled, pooled=True)
    assert not [each for each in check(pooled, pooled=True) if each.count]


async def test_words_cross_by_the_address_past_the_pooler(database: Postgres, pooled: str) -> None:
    one, other = [
        await open_storage(
            pooled, idempotency_lifetime=KEY_LIFETIME, pooled=True, listen_url=database.url
        )
        for _ in range(2)
    ]
    try:
        async with asyncio.timeout(_IN_TIME_S):
            with other._notifier.work() as heard:
                while not heard.is_set():
                    one._notifier.publish(Notice(has_work=True))
                    await asyncio.sleep(0.01)
    finally:
        await one.close()
        await other.close()


async def test_a_transaction_has_its_limits_whichever_session_it_has(pooled: str) -> None:
    storage = await open_storage(pooled, idempotency_lifetime=KEY_LIFETIME, pooled=True)
    try:
        settings = await storage._writes.submit(_settings, None)
        assert settings == ("3s", "3s", "on")
    finally:
        await storage.close()


def _settings(transaction: object, batch: object) -> list[tuple[str, ...]]:
    del batch
    cursor = transaction._cursor  # type: ignore[attr-defined]
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")
    found = []
    for name in names:
        cursor.execute(f"SHOW {name}")
        found.append(cursor.fetchone()[0])
    return [tuple(found)]
