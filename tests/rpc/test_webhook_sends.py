"""Tests of webhooks, events sent again, and attempts, through the API."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from server.config import Settings
from server.domain.events import event_id
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.webhooks import DISABLED, PARENT, Hooks, violations

Code = grpc.StatusCode
RESELLER = "reseller-1"


@pytest.fixture
def hooks(api: Api, settings: Settings) -> Hooks:
    return Hooks(api, settings)


def event(number: int, reseller_id: str = RESELLER) -> str:
    return event_id(reseller_id, number)


async def test_a_test_is_sent_to_the_webhook_alone(hooks: Hooks) -> None:
    made = await hooks.create()
    other = await hooks.create("https://example.org/")
    for each in (made, other):
        hooks.verify(each.name)
    sent = await hooks.test(made.name)
    assert sent.event == f"{PARENT}/events/{event(5)}"
    assert hooks.query(
        "SELECT id FROM deliveries d JOIN webhooks w ON w.n = d.webhook WHERE event = 5"
    ) == [(made.name.rpartition("/")[2],)]
    assert hooks.logged()[-1] == "webhook.test"
    # Nobody else waits for it.
    assert (await hooks.get(other.name)).backlog == 0


async def test_a_repeated_test_is_the_same_event(hooks: Hooks) -> None:
    made = await hooks.create()
    key = str(uuid.uuid4())
    calls = [hooks.test(made.name, key=key) for _ in range(4)]
    answers = {each.event for each in await asyncio.gather(*calls)}
    answers.add((await hooks.test(made.name, key=key)).event)
    assert answers == {f"{PARENT}/events/{event(3)}"}
    assert hooks.logged().count("webhook.test") == 2


async def test_nothing_is_sent_to_a_disabled_webhook(hooks: Hooks) -> None:
    made = await hooks.create(state=DISABLED)
    for call in (
        hooks.test(made.name),
        hooks.redeliver(made.name, after=""),
        hooks.redeliver(made.name, event=event(1)),
    ):
        assert (await refusal(call))[:2] == (Code.FAILED_PRECONDITION, "WEBHOOK_STATE")


async def test_nothing_but_tests_goes_to_one_that_has_answered_none(hooks: Hooks) -> None:
    made = await hooks.create()
    for call in (
        hooks.redeliver(made.name, after=""),
        hooks.redeliver(made.name, event=event(1)),
    ):
        code, reason, status = await refusal(call)
        assert (code, reason) == (Code.FAILED_PRECONDITION, "WEBHOOK_STATE")
        assert "test it first" in status.message


async def test_one_event_is_sent_again(hooks: Hooks) -> None:
    made = await hooks.create(types=["customer.created"])
    hooks.verify(made.name)
    key = str(uuid.uuid4())
    again = await hooks.redeliver(made.name, event=f"{PARENT}/events/{event(1)}", key=key)
    assert again.backlog == 1
    assert await hooks.redeliver(made.name, event=f"{PARENT}/events/{event(1)}", key=key) == again
    await hooks.redeliver(made.name, event=event(1))
    assert hooks.query("SELECT event, due_at IS NOT NULL FROM deliveries") == [(1, 1)]


async def test_all_after_an_event_are_sent_again(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    for number in range(3):
        await hooks.update(made.name, description=f"{number}")
    hooks.query("UPDATE webhooks SET position = 5")
    for after, backlog in ((event(5), 0), (event(4), 1), (event(3), 2), (event(0), 4), ("", 4)):
        hooks.query("UPDATE webhooks SET position = 5")
        again = await hooks.redeliver(made.name, after=after)
        assert again.backlog == backlog  # the test is none of them


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "event"),
        ({"event": ""}, "event"),
        ({"event": "evt1"}, "event"),
        ({"event": event(0)}, "event"),
        ({"event": event(1, "reseller-2")}, "event"),
        ({"event": "resellers/reseller-2/events/" + event(1, "reseller-2")}, "event"),
        ({"event": "resellers/reseller-2/events/" + event(1)}, "event"),
        ({"after": "latest"}, "after"),
        ({"after": "2026-03-01T00:00:00Z"}, "after"),
        ({"after": event(1, "reseller-2")}, "after"),
        ({"after": "x" * 151}, "after"),
    ],
)
async def test_a_wrong_event_is_refused_by_its_field(
    hooks: Hooks, fields: dict[str, Any], field: str
) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    code, _, status = await refusal(hooks.redeliver(made.name, **fields))
    assert (code, set(violations(status))) == (Code.INVALID_ARGUMENT, {field})


async def test_an_event_that_does_not_exist_is_not_sent_again(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    assert (await refusal(hooks.redeliver(made.name, event=event(3))))[0] is Code.NOT_FOUND
    refused = await refusal(hooks.redeliver(made.name, after=event(3)))
    assert violations(refused[2]).keys() == {"after"}
    code, _, status = await refusal(hooks.redeliver(made.name, event=event(2)))
    assert (code, "TestWebhook" in status.message) == (Code.FAILED_PRECONDITION, True)


async def test_an_event_that_is_cleared_is_not_sent_again(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    hooks.query("DELETE FROM events WHERE number = 1")
    hooks.query("UPDATE event_logs SET cleared = 1")
    for call in (
        hooks.redeliver(made.name, after=event(0)),
        hooks.redeliver(made.name, event=event(1)),
    ):
        code, reason, status = await refusal(call)
        assert (code, reason) == (Code.OUT_OF_RANGE, "EVENTS_GONE")
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.metadata == {"oldest": event(2), "after": event(1)}
    await hooks.redeliver(made.name, after=event(1))
    await hooks.redeliver(made.name, after="")


async def test_attempts_are_listed_newest_first(hooks: Hooks) -> None:
    made = await hooks.create()
    n = hooks.query("SELECT n FROM webhooks")[0][0]
    at = datetime(2030, 1, 1, tzinfo=UTC)
    micros = int(at.timestamp()) * 1_000_000
    hooks.query(
        "INSERT INTO attempts VALUES (1, :n, 2, :at, 120, NULL, 'no connection', false, :next),"
        "(2, :n, 2, :next, 15, 503, '', false, :next), (3, :n, 2, :next, 9, 200, '', true, NULL)",
        n=n,
        at=micros,
        next=micros + 5_000_000,
    )
    page = await hooks.attempts(made.name, page_size=2)
    rest = await hooks.attempts(made.name, page_size=2, page_token=page.next_page_token)
    last, second, first = (*page.attempts, *rest.attempts)
    assert rest.next_page_token == ""
    assert first.event == f"{PARENT}/events/{event(2)}"
    assert first.time.ToDatetime(UTC) == at
    assert (first.status, first.error, first.milliseconds) == (0, "no connection", 120)
    assert first.next_try_time.ToDatetime(UTC) == at + timedelta(seconds=5)
    assert (second.status, second.error) == (503, "")
    assert (last.status, last.milliseconds, last.HasField("next_try_time")) == (200, 9, False)
    # A page token is good for this webhook alone.
    other = await hooks.create()
    refused = await refusal(hooks.attempts(other.name, page_token=page.next_page_token))
    assert refused[0] is Code.INVALID_ARGUMENT
