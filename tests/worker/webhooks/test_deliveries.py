"""Deliveries from the log to a real receiver: real storage and HTTP, and time that is moved."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from standardwebhooks import Webhook

from server.domain.events import EventType
from server.storage.interface import Storage
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from server.storage.webhooks import delivery_storage
from server.worker import runner
from server.worker.retry_policy import RetrySchedule
from tests.clock import Clock
from tests.storage.databases import query
from tests.storage.webhooks.records import SECRET, add_webhook, rows
from tests.storage.webhooks.records import happen as happen_to
from tests.worker.harness import RESELLER_ID, START
from tests.worker.mail_server import PATIENCE_S
from tests.worker.webhooks.delivering import ADDRESS, SETTINGS, Receiver, delivering
from tests.worker.webhooks.receivers import receiving

SECOND = timedelta(seconds=1)


@pytest.fixture
def sql(storage: Storage) -> SqlStorage:
    return cast("SqlStorage", storage)


async def happen(storage: SqlStorage, *customers: int) -> None:
    await happen_to(storage, *customers, reseller_id=RESELLER_ID, now=START)


async def hook(storage: SqlStorage, url: str, id_: str = "whk1", *, verified: bool = True) -> int:
    return await add_webhook(
        storage, id_, url, reseller_id=RESELLER_ID, verified=verified, now=START
    )


async def recorded(database: str, times: int) -> list[tuple[int, int | None, bool, int | None]]:
    """Returns event, status, success and next try of all attempts, once there are so many."""
    columns = ("event", "status", "succeeded", "next_try_at")
    async with asyncio.timeout(PATIENCE_S):
        while len(found := rows(database, "attempts", *columns)) < times:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
    return [(event, status, bool(success), next_at) for event, status, success, next_at in found]


async def test_an_event_arrives_as_the_specifications_say(
    sql: SqlStorage, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    now = Clock(datetime.now(START.tzinfo))  # receivers refuse what is dated otherwise
    async with receiving(receiver.take) as url, delivering(sql, now):
        await hook(sql, url)
        await happen(sql, 7, 0)
        await receiver.until(2)
    headers, body = next(
        each for each in receiver.got if each[0]["webhook-id"].startswith("evt000000000002")
    )
    assert headers["content-type"] == "application/cloudevents+json"
    event = Webhook(SECRET).verify(body, headers)
    assert event["id"] == headers["webhook-id"]
    assert event["source"] == f"{ADDRESS}/v1/resellers/{RESELLER_ID}"
    assert event["type"] == "billing.access.granted.v1"
    assert event["sequence"] == "000000000002"
    assert event["subject"] == event["data"]["customer"]
    assert event["data"]["data"] == {"name": "Рога и копыта"}
    assert "subject" not in json.loads(
        next(body for _, body in receiver.got if json.loads(body)["sequence"].endswith("3"))
    )
    read = from_structured_event(HTTPMessage(headers=headers, body=body.encode()))
    assert read.get_id() == event["id"]
    assert read.get_time() == START
    assert read.get_data() == event["data"]


async def test_deliveries_begin_at_once(
    sql: SqlStorage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By word of what has happened, not by looking for it."""
    monkeypatch.setattr(delivery_storage, "LOOK_EVERY", timedelta(hours=1))
    receiver = Receiver()
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        for number in range(1, 20):
            await happen(sql, 7)
            await receiver.until(number)


async def test_what_a_webhook_does_not_want_delays_nothing(
    sql: SqlStorage, database: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word of it is no false alarm, after some of which a runner pauses."""
    monkeypatch.setattr(runner, "_FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(runner, "_LONGEST_FALSE_ALARM_S", 3600.0)
    receiver = Receiver()
    settings = replace(SETTINGS, longest_wait=timedelta(hours=2))
    async with receiving(receiver.take) as url, delivering(sql, clock, settings):
        await hook(sql, url)
        wanted = EventType.ACCESS_REVOKED
        query(database, f"UPDATE webhooks SET types = '[\"{wanted}\"]'")
        for number in range(2, 5):
            await happen(sql, number)
            async with asyncio.timeout(PATIENCE_S):
                while rows(database, "webhooks", "position") != [(number,)]:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)
        await happen_to(sql, 7, reseller_id=RESELLER_ID, type_=wanted, now=START)
        await receiver.until(1)
    assert receiver.numbers == [5]


async def test_all_that_fails_is_tried_again_by_the_schedule(
    sql: SqlStorage, database: str, clock: Clock
) -> None:
    delays = RetrySchedule().delays
    tries = len(delays) + 1
    receiver = Receiver(answers=[500, 404, 301, 400, 403] + [503] * (tries - 5))
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        await happen(sql, 7, 7)
        for number, delay in enumerate(delays, 1):
            found = await recorded(database, number)
            assert found[number - 1][3] == micros(clock() + delay)
            clock.advance(delay)
        await receiver.until(tries + 1)
        found = await recorded(database, tries + 1)
    assert found[-2] == (2, 503, False, None)
    assert found[-1] == (3, 200, True, None)
    assert receiver.numbers == [2] * tries + [3]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
    assert rows(database, "deliveries", "n") == []


@pytest.mark.parametrize("status", [200, 404, 429, 503])
async def test_retry_after_is_obeyed_on_any_answer(
    sql: SqlStorage, database: str, clock: Clock, status: int
) -> None:
    receiver = Receiver(answers=[status], headers={"Retry-After": "3600"})
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        await happen(sql, 7)
        await recorded(database, 1)
        await happen(sql, 8)
        clock.advance(timedelta(seconds=3599))
        await sql.deliveries._look(clock())
        await asyncio.sleep(0.1)  # nothing tells that nothing comes
        assert len(receiver.got) == 1
        receiver.headers = {}
        clock.advance(SECOND)
        await recorded(database, 2 if status == 200 else 3)
    assert receiver.numbers[1:] == ([3] if status == 200 else receiver.numbers[1:])


@pytest.mark.parametrize("status", [429, 500])
async def test_retry_after_is_obeyed_after_the_last_try_too(
    sql: SqlStorage, database: str, clock: Clock, status: int
) -> None:
    receiver = Receiver(answers=[status] * 2, headers={"Retry-After": "3600"})
    twice = replace(SETTINGS, retry=RetrySchedule([timedelta()]))
    async with receiving(receiver.take) as url, delivering(sql, clock, twice):
        await hook(sql, url)
        await happen(sql, 7)
        await recorded(database, 1)
        clock.advance(timedelta(hours=1))
        await recorded(database, 2)
        until = micros(clock() + timedelta(hours=1))
        assert rows(database, "webhooks", "paused_until") == [(until,)]


@pytest.mark.parametrize("status", [429, 502, 504])
async def test_who_is_overloaded_is_left_alone_as_a_whole(
    sql: SqlStorage, database: str, clock: Clock, status: int
) -> None:
    receiver = Receiver(answers=[status])
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        await happen(sql, 7)
        await recorded(database, 1)
        assert rows(database, "webhooks", "paused_until") == [(micros(clock() + 5 * SECOND),)]
        await happen(sql, 8)
        await asyncio.sleep(0.1)  # nothing tells that nothing comes
        assert len(receiver.got) == 1
        clock.advance(5 * SECOND)
        await recorded(database, 3)
    assert sorted(receiver.numbers) == [2, 2, 3]


async def test_the_first_test_that_is_answered_opens_the_log(
    sql: SqlStorage, database: str, clock: Clock
) -> None:
    receiver = Receiver(answers=[500, 500])
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url, verified=False)
        await happen(sql, 7)
        await recorded(database, 2)
        assert receiver.numbers == [1, 1]
        clock.advance(5 * SECOND)
        await recorded(database, 4)
    assert receiver.numbers == [1, 1, 1, 2]
    types = [json.loads(body)["type"] for _, body in receiver.got]
    assert types[0] == f"billing.{EventType.WEBHOOK_TEST}.v1"


async def test_gone_ends_it(sql: SqlStorage, database: str, clock: Clock) -> None:
    receiver = Receiver(answers=[410])
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        await happen(sql, 7)
        await recorded(database, 1)
        await happen(sql, 8)
        clock.advance(timedelta(days=2))
        await asyncio.sleep(0.1)  # nothing tells that nothing comes
    assert len(receiver.got) == 1
    assert query(database, "SELECT disable_reason FROM webhooks") == [
        ("The receiver answered 410 Gone.",)
    ]


async def test_who_hangs_holds_nobody_up(sql: SqlStorage, clock: Clock) -> None:
    hanging, well = Receiver(gate=asyncio.Event()), Receiver()
    async with (
        receiving(hanging.take) as url,
        receiving(well.take) as other_url,
        delivering(sql, clock),
    ):
        await hook(sql, url)
        await hook(sql, other_url, "whk2")
        await happen(sql, *range(1, 101))
        await well.until(100)
        assert len(hanging.got) <= 17
        assert hanging.gate
        hanging.gate.set()
        await hanging.until(101)


async def test_a_stranger_s_event_json_that_breaks_is_recorded(
    sql: SqlStorage, database: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_(*_: object) -> str:
        raise RuntimeError

    monkeypatch.setattr("server.worker.webhooks.cloud_events.CloudEvents.body", break_)
    async with delivering(sql, clock):
        await hook(sql, "http://127.0.0.1:1/")
        await happen(sql, 7)
        await recorded(database, 2)
    assert rows(database, "attempts", "error")[0] == (
        "the service failed; its operator's log says how",
    )


async def test_a_worker_that_stops_gives_back_what_it_has_not_recorded(
    sql: SqlStorage, database: str, clock: Clock
) -> None:
    receiver = Receiver(gate=asyncio.Event())
    async with receiving(receiver.take) as url:
        async with delivering(sql, clock) as runner:
            await hook(sql, url)
            await happen(sql, 7)
            await receiver.until(1)
            stopping: Callable[[], object] = runner._stopping.set
            stopping()
            await runner.stop(timedelta(seconds=0.1))
            assert rows(database, "deliveries", "claimed", "tries") == [(0, 0)]
            assert receiver.gate
            receiver.gate.set()
            receiver.gate = None
        async with delivering(sql, clock):
            await receiver.until(2)
    assert receiver.numbers == [2, 2]


async def test_the_content_type_is_the_webhook_s(
    sql: SqlStorage, database: str, clock: Clock
) -> None:
    receiver = Receiver()
    async with receiving(receiver.take) as url, delivering(sql, clock):
        await hook(sql, url)
        query(database, "UPDATE webhooks SET content_type = 2")
        await happen(sql, 7)
        await receiver.until(1)
    ((headers, body),) = receiver.got
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["specversion"] == "1.0"
