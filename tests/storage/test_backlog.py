"""What waits to be sent, as those who watch over the service see it."""

import asyncio
import re
from datetime import timedelta

from server.domain.operations import Deferral
from server.storage import backlog as module
from server.storage.interface import Backlog
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import RESELLER, START, claimed, invited
from tests.storage.webhooks.records import add_webhook, happen
from tests.storage.webhooks.test_deliveries import claim, fail, succeed

MINUTE = timedelta(minutes=1)


async def read(storage: SqlStorage) -> Backlog:
    return await storage.backlog.read_backlog()


async def test_without_anything_nothing_waits(storage: SqlStorage) -> None:
    assert await read(storage) == Backlog()


async def test_an_e_mail_waits_until_it_is_sent(storage: SqlStorage) -> None:
    await invited(storage)
    assert await read(storage) == Backlog(mails=1, oldest_mail_at=START)
    # Whoever has claimed it may never come back.
    delivery = await claimed(storage)
    assert await read(storage) == Backlog(mails=1, oldest_mail_at=START)
    await invited(storage, START + MINUTE)
    assert await read(storage) == Backlog(mails=2, oldest_mail_at=START)
    await storage.mail.finish_delivery(delivery, START)
    assert await read(storage) == Backlog(mails=1, oldest_mail_at=START + MINUTE)


async def test_the_oldest_e_mail_is_found_among_those_that_are_tried_again(
    storage: SqlStorage,
) -> None:
    await invited(storage)
    first = await claimed(storage)
    # The later one is due before the older one.
    late, soon = START + 60 * MINUTE, START + 5 * MINUTE
    deferral = Deferral(1, "the mail server can't be reached", late)
    await storage.mail.retry_delivery(first, late, START, deferral)
    await invited(storage, START + MINUTE)
    second = await claimed(storage, START + MINUTE)
    await storage.mail.retry_delivery(second, soon, START + MINUTE, deferral)
    await invited(storage, START + 2 * MINUTE)
    assert await read(storage) == Backlog(mails=1, retried_mails=2, oldest_mail_at=START)


async def test_held_e_mails_do_not_count(storage: SqlStorage) -> None:
    await invited(storage)
    await storage.administration.suspend_reseller(RESELLER, START)
    assert await read(storage) == Backlog()


async def test_an_event_waits_until_the_last_webhook_has_got_it(storage: SqlStorage) -> None:
    await happen(storage, 1)
    assert (await read(storage)).oldest_event_at is None  # without a webhook nobody waits for it
    await add_webhook(storage)
    await happen(storage, 1, now=START + MINUTE)
    assert (await read(storage)).oldest_event_at == START + MINUTE
    under_way = await claim(storage, START + MINUTE)
    await happen(storage, 2, now=START + 2 * MINUTE)
    found = await read(storage)
    assert found.oldest_event_at == START + MINUTE
    assert found.deliveries == len(under_way)
    await fail(storage, under_way[0], START + MINUTE)
    found = await read(storage)
    assert (found.oldest_event_at, found.failing_webhooks) == (None, 1)  # its receiver's matter
    again = await claim(storage, START + 3 * MINUTE)
    await succeed(storage, again, START + 3 * MINUTE)
    await succeed(storage, await claim(storage, START + 3 * MINUTE), START + 3 * MINUTE)
    assert await read(storage) == Backlog()


async def test_events_wait_for_no_webhook_that_gets_none(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 1)
    query(database_url, "UPDATE webhooks SET enabled = FALSE")
    assert await read(storage) == Backlog()


async def test_it_is_read_by_indexes_alone(storage: SqlStorage, database_url: str) -> None:
    """A table of a million ended operations is not looked through."""
    if not database_url.startswith("sqlite"):
        return  # PostgreSQL's plan depends on how many rows there are
    text = module._BACKLOG._compile(storage.probe._database.engine.dialect, 0)
    plan = [row[3] for row in query(database_url, f"EXPLAIN QUERY PLAN {_literal(*text)}")]
    indexes = ("INDEX operations_due", "INDEX operations_deferred", "INTEGER PRIMARY KEY")
    looked_at = [line for line in plan if re.match("(SCAN|SEARCH) operations", line)]
    assert len(looked_at) == 5
    assert all(any(index in line for index in indexes) for line in looked_at)
    assert not [line for line in plan if line.startswith("SCAN events")]


def _literal(text: str, places: list[object] | int) -> str:
    assert isinstance(places, list)
    for place in places:
        literal = repr(place) if isinstance(place, str) else str(int(place))  # type: ignore[call-overload]
        text = text.replace("?", literal, 1)
    return text


async def test_many_who_ask_at_once_are_answered_together(storage: SqlStorage) -> None:
    await invited(storage)
    found = await asyncio.gather(*(read(storage) for _ in range(8)))
    assert found == [Backlog(mails=1, oldest_mail_at=START)] * 8
