"""Webhooks changed through the API: update masks, etags, states, new URLs."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest

from server.config import Settings
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.webhooks import DISABLED, ENABLED, URL, Hooks, violations

Code = grpc.StatusCode
OTHER = "https://example.org/hook"


@pytest.fixture
def hooks(api: Api, settings: Settings) -> Hooks:
    return Hooks(api, settings)


async def test_a_mask_sets_what_it_names_alone(hooks: Hooks) -> None:
    made = await hooks.create(description="before", alert_email="a@example.com")
    hooks.api.clock.advance(timedelta(seconds=1))
    changed = await hooks.update(
        made.name,
        ["types", "contentType", "alert_email"],
        url=OTHER,
        types=["customer.created"],
        description="not named",
        content_type="application/json",
    )
    assert (changed.url, changed.description) == (URL, "before")
    assert list(changed.types) == ["customer.created"]
    assert (changed.content_type, changed.alert_email) == ("application/json", "")
    assert changed.etag != made.etag
    assert changed.update_time.seconds == made.update_time.seconds + 1
    assert not changed.HasField("secret")
    assert await hooks.get(made.name) == changed
    assert hooks.logged() == ["webhook.created", "webhook.test", "webhook.updated"]


async def test_without_a_mask_what_is_not_empty_is_set(hooks: Hooks) -> None:
    made = await hooks.create(description="before", types=["customer.created"])
    changed = await hooks.update(made.name, description="after")
    assert (changed.description, list(changed.types)) == ("after", ["customer.created"])


async def test_a_star_sets_all(hooks: Hooks) -> None:
    made = await hooks.create(
        description="before", content_type="application/json", types=["customer.created"]
    )
    changed = await hooks.update(made.name, ["*"], url=URL)
    assert (changed.description, list(changed.types)) == ("", [])
    assert changed.content_type == "application/cloudevents+json"
    assert changed.state == ENABLED
    refused = await refusal(hooks.update(made.name, ["*"], description="no URL"))
    assert violations(refused[2]) == {"webhook.url": "Required."}


async def test_what_only_the_service_sets_is_passed_over_where_no_mask_names_it(
    hooks: Hooks,
) -> None:
    made = await hooks.create()
    # A whole webhook sent back as it was read changes nothing.
    made.ClearField("secret")
    fields = {field.name: value for field, value in made.ListFields() if field.name != "name"}
    assert await hooks.update(made.name, **fields) == made
    assert hooks.logged() == ["webhook.created", "webhook.test"]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (
            ["url", "secretX"],
            "There is no field secretX; name some of url, types, description, content_type",
        ),
        (["types.0"], "There is no field types.0"),
        (["types."], "There is no field types."),
        *(
            ([name, "url"], f"{name} can't be set.")
            for name in ("name", "secret", "create_time", "updateTime", "backlog", "etag")
        ),
        (["webhook.url"], "There is no field webhook.url"),
        ([""], "can be seen"),
        (["*", "url"], "* stands for all fields"),
        (["p"] * 101, "100"),
        (["p" * 101], "100"),
    ],
)
async def test_a_wrong_mask_is_refused(hooks: Hooks, mask: list[str], says: str) -> None:
    made = await hooks.create()
    code, _, status = await refusal(hooks.update(made.name, mask, url=OTHER))
    assert code is Code.INVALID_ARGUMENT
    assert says in str(violations(status))
    assert all(each.startswith("update_mask") for each in violations(status))


@pytest.mark.parametrize(
    ("mask", "fields", "field"),
    [
        (["url"], {}, "webhook.url"),
        (["url"], {"url": "http://example.com"}, "webhook.url"),
        (["state"], {}, "webhook.state"),
        ([], {"state": 9}, "webhook.state"),
        ([], {"types": ["no.such"]}, "webhook.types[0]"),
        ([], {"etag": '"x"'}, "webhook.etag"),
        ([], {"etag": '"0"'}, "webhook.etag"),
        ([], {"alert_email": "x"}, "webhook.alert_email"),
    ],
)
async def test_what_is_wrong_changes_nothing(
    hooks: Hooks, mask: list[str], fields: dict[str, Any], field: str
) -> None:
    made = await hooks.create()
    for validate_only in (True, False):
        call = hooks.update(made.name, mask, validate_only=validate_only, **fields)
        code, _, status = await refusal(call)
        assert (code, set(violations(status))) == (Code.INVALID_ARGUMENT, {field})
    assert (await hooks.get(made.name)).etag == made.etag


async def test_a_stale_etag_changes_nothing(hooks: Hooks) -> None:
    made = await hooks.create()
    changed = await hooks.update(made.name, description="one", etag=made.etag)
    for validate_only in (True, False):
        call = hooks.update(
            made.name, description="two", etag=made.etag, validate_only=validate_only
        )
        code, reason, _ = await refusal(call)
        assert (code, reason) == (Code.ABORTED, "ETAG_STALE")
    assert await hooks.get(made.name) == changed
    # Without quotes, as some tools hand it on.
    await hooks.update(made.name, description="two", etag=changed.etag.strip('"'))


async def test_of_updates_with_one_etag_one_is_done(hooks: Hooks) -> None:
    made = await hooks.create()
    calls = [hooks.update(made.name, description=f"{n}", etag=made.etag) for n in range(8)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in done) == 1
    assert hooks.logged().count("webhook.updated") == 1


async def test_what_is_only_checked_is_not_changed(hooks: Hooks) -> None:
    made = await hooks.create()
    checked = await hooks.update(made.name, url=OTHER, state=DISABLED, validate_only=True)
    assert (checked.url, checked.state) == (OTHER, DISABLED)
    assert (await hooks.get(made.name)).url == URL


async def test_disabled_it_is_held_and_enabled_it_goes_on(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    n, reseller = hooks.query("SELECT n, reseller FROM webhooks")[0]
    hooks.query(
        "INSERT INTO deliveries VALUES (1, :n, :reseller, 1, 5, 1, 1, 3, false, 3, '{}')",
        n=n,
        reseller=reseller,
    )
    hooks.query("UPDATE webhooks SET failing_since = 1, paused_until = 2")
    disabled = await hooks.update(made.name, state=DISABLED)
    assert (disabled.state, disabled.disable_reason) == (DISABLED, "Disabled through the API.")
    assert hooks.query("SELECT due_at FROM deliveries") == [(None,)]
    enabled = await hooks.update(made.name, state=ENABLED)
    assert (enabled.state, enabled.disable_reason) == (ENABLED, "")
    assert hooks.query("SELECT due_at IS NOT NULL, tries FROM deliveries") == [(1, 0)]
    assert hooks.query("SELECT failing_since, paused_until FROM webhooks") == [(None, None)]
    assert hooks.logged()[2:] == ["webhook.disabled", "webhook.enabled"]


async def test_enabled_before_it_has_answered_a_test_it_is_sent_one(hooks: Hooks) -> None:
    made = await hooks.create(state=DISABLED)
    await hooks.update(made.name, state=ENABLED)
    assert hooks.logged() == ["webhook.created", "webhook.enabled", "webhook.test"]
    assert hooks.query("SELECT event FROM deliveries") == [(3,)]


async def test_a_new_url_must_answer_a_test_first(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.query("UPDATE deliveries SET claimed = true, attempts = 1")
    # A test that the old URL answers now is not this webhook's any more.
    await hooks.update(made.name, url=OTHER)
    assert hooks.query("SELECT event, claimed, attempts FROM deliveries") == [(4, 0, 0)]
    assert hooks.query("SELECT verified_at FROM webhooks") == [(None,)]
    assert hooks.logged()[2:] == ["webhook.updated", "webhook.test"]


async def test_what_is_on_its_way_to_an_old_url_counts_for_nothing(hooks: Hooks) -> None:
    made = await hooks.create()
    hooks.verify(made.name)
    n, reseller = hooks.query("SELECT n, reseller FROM webhooks")[0]
    hooks.query(
        "INSERT INTO deliveries VALUES (1, :n, :reseller, 1, 5, 1, 1, 3, true, 3, NULL)",
        n=n,
        reseller=reseller,
    )
    await hooks.update(made.name, url=OTHER)
    assert hooks.query(
        "SELECT event, claimed, attempts, due_at IS NULL FROM deliveries ORDER BY event"
    ) == [(1, 0, 4, 1), (4, 0, 0, 0)]


async def test_a_new_url_of_a_disabled_webhook_is_tested_once_enabled(hooks: Hooks) -> None:
    made = await hooks.create()
    await hooks.update(made.name, state=DISABLED, url=OTHER)
    assert hooks.query("SELECT count(*) FROM deliveries") == [(0,)]
    assert hooks.logged()[2:] == ["webhook.updated", "webhook.disabled"]
    await hooks.update(made.name, state=ENABLED)
    assert hooks.logged()[4:] == ["webhook.enabled", "webhook.test"]
    assert hooks.query("SELECT count(*) FROM deliveries") == [(1,)]


async def test_a_repeat_changes_nothing_again(hooks: Hooks) -> None:
    made = await hooks.create()
    key = str(uuid.uuid4())
    first = await hooks.update(made.name, description="one", etag=made.etag, key=key)
    assert await hooks.update(made.name, description="one", etag=made.etag, key=key) == first
    assert hooks.logged().count("webhook.updated") == 1
