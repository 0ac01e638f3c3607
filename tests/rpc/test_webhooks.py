"""Webhooks through the API: added, read, deleted, their secrets."""

import asyncio
import base64
import logging
import uuid
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import event_service_pb2, webhook_pb2
from billing.v1 import webhook_service_pb2 as service
from google.protobuf import duration_pb2

from server.config import Settings
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.webhooks import DISABLED, ENABLED, PARENT, URL, Hooks, violations

Code = grpc.StatusCode
SECOND = timedelta(seconds=1)


@pytest.fixture
def hooks(api: Api, settings: Settings) -> Hooks:
    return Hooks(api, settings)


async def test_a_webhook_is_added_with_its_secret_and_sent_a_test(hooks: Hooks) -> None:
    made = await hooks.create(
        types=["invitation.accepted", "invitation.declined"],
        description="Our books",
        alert_email="Ops@EXAMPLE.com",
    )
    assert made.name.startswith(f"{PARENT}/webhooks/whk")
    assert (made.url, made.state, made.disable_reason) == (URL, ENABLED, "")
    assert list(made.types) == ["invitation.accepted", "invitation.declined"]
    assert (made.description, made.alert_email) == ("Our books", "Ops@example.com")
    assert made.content_type == "application/cloudevents+json"
    assert made.create_time.ToDatetime(UTC) == hooks.api.clock() == made.update_time.ToDatetime(UTC)
    assert not made.HasField("last_success_time")
    assert made.backlog == 1  # the test
    prefix, _, encoded = made.secret.partition("_")
    assert (prefix, len(base64.b64decode(encoded, validate=True))) == ("whsec", 32)
    assert hooks.logged() == ["webhook.created", "webhook.test"]
    assert hooks.query("SELECT event, due_at IS NOT NULL FROM deliveries") == [(2, 1)]
    assert hooks.query("SELECT position FROM webhooks") == [(1,)]
    # The secret is in no other answer, and in no event.
    shown = webhook_pb2.Webhook()
    shown.CopyFrom(made)
    shown.ClearField("secret")
    assert await hooks.get(made.name) == shown
    assert list((await hooks.list()).webhooks) == [shown]
    assert made.secret not in str(hooks.logged_data())


async def test_events_tell_who_changed_a_webhook_and_how_it_looked(hooks: Hooks) -> None:
    made = await hooks.create(description="Our books")
    body = event_service_pb2.ListEventsRequest(parent=PARENT, filter='type = "webhook.created"')
    page = await hooks.api.events.ListEvents(body, metadata=hooks.api.as_("reader"))
    (event,) = page.events
    assert event.actor.subject == "writer"
    assert event.actor.request_id
    shown = webhook_pb2.Webhook()
    assert event.data.Unpack(shown)
    made.ClearField("secret")
    made.ClearField("backlog")
    assert shown == made


async def test_a_disabled_webhook_is_sent_no_test(hooks: Hooks) -> None:
    made = await hooks.create(state=DISABLED)
    assert (made.state, made.disable_reason) == (DISABLED, "Disabled through the API.")
    assert hooks.logged() == ["webhook.created"]
    assert hooks.query("SELECT count(*) FROM deliveries") == [(0,)]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"url": ""}, "webhook.url", "Required."),
        ({"url": "ftp://example.com"}, "webhook.url", "https://"),
        ({"url": "http://example.com"}, "webhook.url", "https://"),
        ({"url": "https://10.0.0.1/"}, "webhook.url", "public"),
        ({"url": "https://[::ffff:8.8.8.8]/"}, "webhook.url", "public"),
        ({"url": "https://user:pw@example.com/"}, "webhook.url", "password"),
        ({"url": "https://0x7f.1/"}, "webhook.url", "host"),
        ({"url": "https://localhost/"}, "webhook.url", "host"),
        ({"url": "http://127.0.0.1:80/"}, "webhook.url", "https://"),
        ({"url": "https://example.com/" + "x" * 2048}, "webhook.url", "2048"),
        ({"types": ["invitation.accepted", "no.such"]}, "webhook.types[1]", "webhook.test"),
        ({"types": ["invitation.refused"]}, "webhook.types[0]", "No such type"),
        ({"types": [""]}, "webhook.types[0]", "can be seen"),
        ({"types": ["customer.created"] * 2}, "webhook.types", "customer.created once"),
        ({"types": [f"t{n}" for n in range(101)]}, "webhook.types", "100"),
        ({"content_type": "text/plain"}, "webhook.content_type", "application/json"),
        ({"description": "x" * 1025}, "webhook.description", "1024"),
        ({"description": "two\nlines"}, "webhook.description", "control"),
        ({"alert_email": "nobody"}, "webhook.alert_email", "Not an e-mail address"),
        ({"state": 7}, "webhook.state", "ENABLED or DISABLED"),
    ],
)
async def test_what_is_wrong_is_named(
    hooks: Hooks, fields: dict[str, Any], field: str, says: str
) -> None:
    for validate_only in (False, True):
        code, reason, status = await refusal(hooks.create(validate_only=validate_only, **fields))
        assert (code, reason) == (Code.INVALID_ARGUMENT, "FIELDS_INVALID")
        assert says in violations(status)[field]
    assert hooks.logged() == []


async def test_all_that_is_wrong_is_named_at_once(hooks: Hooks) -> None:
    refused = refusal(hooks.create("http://x", types=["a", "b"], content_type="c"))
    assert set(violations((await refused)[2])) == {
        *("webhook.url", "webhook.types[0]", "webhook.types[1]", "webhook.content_type"),
    }


async def test_without_a_webhook_nothing_is_added(hooks: Hooks) -> None:
    body = service.CreateWebhookRequest(parent=PARENT)
    call = hooks.api.webhooks.CreateWebhook(body, metadata=hooks.api.as_("writer"))
    assert violations((await refusal(call))[2]) == {"webhook": "Required."}


async def test_what_is_only_checked_is_not_added(hooks: Hooks) -> None:
    checked = await hooks.create(validate_only=True, types=["customer.created"])
    assert (checked.name, checked.etag, checked.HasField("secret")) == ("", "", False)
    assert (checked.url, list(checked.types)) == (URL, ["customer.created"])
    assert hooks.logged() == []
    assert list((await hooks.list()).webhooks) == []


async def test_a_reseller_has_at_most_20(hooks: Hooks) -> None:
    made = await asyncio.gather(*(hooks.create() for _ in range(24)), return_exceptions=True)
    added = [each for each in made if not isinstance(each, BaseException)]
    assert len(added) == 20
    for validate_only in (False, True):
        code, reason, _ = await refusal(hooks.create(validate_only=validate_only))
        assert (code, reason) == (Code.RESOURCE_EXHAUSTED, "WEBHOOK_LIMIT_REACHED")
    await hooks.delete(added[0].name)
    await hooks.create()


async def test_a_repeat_answers_with_the_secret(hooks: Hooks) -> None:
    key = str(uuid.uuid4())
    made = await hooks.create(key=key)
    assert await hooks.create(key=key) == made
    assert (await refusal(hooks.create("https://example.org/", key=key)))[1] == (
        "IDEMPOTENCY_KEY_REUSED"
    )
    assert hooks.logged() == ["webhook.created", "webhook.test"]
    rotating = str(uuid.uuid4())
    rotated = await hooks.rotate(made.name, key=rotating)
    assert rotated.secret not in ("", made.secret)
    assert await hooks.rotate(made.name, key=rotating) == rotated
    # As the webhook now is.
    assert (await hooks.create(key=key)).secret == rotated.secret


async def test_a_repeat_of_what_made_a_deleted_webhook_does_not_find_another(
    hooks: Hooks,
) -> None:
    key = str(uuid.uuid4())
    made = await hooks.create(key=key)
    await hooks.delete(made.name)
    await hooks.create()  # which would have the same number, if numbers came twice
    assert (await refusal(hooks.create(key=key)))[0] is Code.NOT_FOUND


async def test_pages_of_webhooks_newest_first(hooks: Hooks) -> None:
    made = [(await hooks.create()).name for _ in range(3)]
    first = await hooks.list(page_size=2)
    second = await hooks.list(page_size=2, page_token=first.next_page_token)
    names = [each.name for each in (*first.webhooks, *second.webhooks)]
    assert (names, second.next_page_token) == (made[::-1], "")


async def test_a_deleted_webhook_is_gone_with_all_that_it_had(hooks: Hooks) -> None:
    made = await hooks.create()
    key = str(uuid.uuid4())
    n = hooks.query("SELECT n FROM webhooks")[0][0]
    for number in range(1, 1201):
        hooks.query(
            "INSERT INTO attempts VALUES (:n, :webhook, 1, 1, 1, 200, '', true, NULL)",
            n=number,
            webhook=n,
        )
    await hooks.delete(made.name, made.etag, key=key)
    await hooks.delete(made.name, made.etag, key=key)
    for table in ("webhooks", "deliveries", "attempts"):
        assert hooks.query(f"SELECT count(*) FROM {table}") == [(0,)]
    assert hooks.logged()[-1] == "webhook.deleted"
    for call in (hooks.get, hooks.delete, hooks.rotate, hooks.test, hooks.attempts):
        assert (await refusal(call(made.name)))[0] is Code.NOT_FOUND
    assert (await refusal(hooks.update(made.name, url=URL)))[0] is Code.NOT_FOUND
    assert (await refusal(hooks.redeliver(made.name, after="")))[0] is Code.NOT_FOUND


async def test_a_stale_etag_deletes_nothing(hooks: Hooks) -> None:
    made = await hooks.create()
    await hooks.update(made.name, description="changed")
    code, reason, _ = await refusal(hooks.delete(made.name, made.etag))
    assert (code, reason) == (Code.ABORTED, "ETAG_STALE")
    assert violations((await refusal(hooks.delete(made.name, "nonsense")))[2]).keys() == {"etag"}
    await hooks.delete(made.name, (await hooks.get(made.name)).etag)


@pytest.mark.parametrize(
    ("overlap", "holds_for"),
    [
        (None, timedelta(days=1)),
        (duration_pb2.Duration(seconds=90, nanos=500_000_000), timedelta(seconds=90.5)),
        (duration_pb2.Duration(seconds=7 * 86_400), timedelta(days=7)),
        (duration_pb2.Duration(), None),
    ],
)
async def test_the_old_secret_signs_until_the_overlap_is_over(
    hooks: Hooks, overlap: duration_pb2.Duration | None, holds_for: timedelta | None
) -> None:
    made = await hooks.create()
    rotated = await hooks.rotate(made.name, overlap=overlap)
    assert rotated.etag != made.etag
    ((new, old, until),) = hooks.query("SELECT secret, old_secret, old_secret_until FROM webhooks")
    assert new == rotated.secret
    if holds_for is None:
        assert (old, until) == (None, None)
    else:
        at = round(hooks.api.clock().timestamp() * 1_000_000)
        assert (old, until) == (made.secret, at + holds_for // timedelta(microseconds=1))
    assert hooks.logged()[-1] == "webhook.updated"


@pytest.mark.parametrize(
    "overlap",
    [
        duration_pb2.Duration(seconds=-1),
        duration_pb2.Duration(nanos=-1),
        duration_pb2.Duration(seconds=7 * 86_400, nanos=1),
        duration_pb2.Duration(seconds=2**62),
        duration_pb2.Duration(seconds=-(2**63)),
    ],
)
async def test_an_overlap_out_of_range_is_refused(
    hooks: Hooks, overlap: duration_pb2.Duration
) -> None:
    made = await hooks.create()
    refused = await refusal(hooks.rotate(made.name, overlap=overlap))
    assert violations(refused[2]) == {"overlap": "Must be from 0s to 604800s (7 days)."}
    no_length = duration_pb2.Duration(nanos=2**31 - 1)
    refused = await refusal(hooks.rotate(made.name, overlap=no_length))
    assert violations(refused[2])["overlap"].startswith("Its nanos must be from -999999999")


async def test_secrets_are_in_no_log(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = await hooks.create()
    rotated = await hooks.rotate(made.name)
    await hooks.list()
    for secret in (made.secret, rotated.secret):
        assert secret not in caplog.text


@pytest.mark.parametrize("name", ["whk", "resellers/reseller-1/webhooks/", "resellers//webhooks/x"])
async def test_a_wrong_name_is_refused_by_each_method(hooks: Hooks, name: str) -> None:
    for call in (hooks.get, hooks.delete, hooks.rotate, hooks.test):
        assert violations((await refusal(call(name)))[2]).keys() == {"name"}
    assert violations((await refusal(hooks.attempts(name)))[2]).keys() == {"parent"}
    assert violations((await refusal(hooks.update(name, url=URL)))[2]).keys() == {"webhook.name"}


async def test_another_resellers_webhook_is_not_found(hooks: Hooks) -> None:
    made = await hooks.create()
    theirs = made.name.replace("reseller-1", "reseller-2")
    for who, name, code in (
        ("foreigner", theirs, Code.NOT_FOUND),
        ("foreigner", made.name, Code.PERMISSION_DENIED),
        ("nobody", made.name, Code.PERMISSION_DENIED),
    ):
        body = service.GetWebhookRequest(name=name)
        call = hooks.api.webhooks.GetWebhook(body, metadata=hooks.api.as_(who))
        assert (await refusal(call))[0] is code
        change = service.UpdateWebhookRequest(webhook=webhook_pb2.Webhook(name=name, url=URL))
        call = hooks.api.webhooks.UpdateWebhook(change, metadata=hooks.api.as_(who))
        assert (await refusal(call))[0] is code
