"""Calls that others hold up are refused before their deadlines pass."""

import asyncio
import time
from types import SimpleNamespace

import grpc
import pytest
from billing.v1 import customer_service_pb2

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline import availability
from server.rpc.pipeline.availability import Availability, in_time
from server.rpc.pipeline.limits import _LISTS_AT_ONCE as LISTS_AT_ONCE
from server.storage.interface import Part
from server.storage.interface.deadlines import end_within
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_customer_changes import PARENT
from tests.storage.records import until

DEADLINE_S = 60.0


def deadline_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has DEADLINE_S from now nearly passed for whoever waits for others."""

    def later() -> float:
        return time.monotonic() + DEADLINE_S - 0.1

    monkeypatch.setattr(availability, "time", SimpleNamespace(monotonic=later))


async def test_what_others_hold_up_is_ended_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadline_is_near(monkeypatch)
    end_within(DEADLINE_S)
    held_up = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(30):
        with pytest.raises(BillingError) as refused:
            await in_time(held_up)
    assert (refused.value.reason, refused.value.retry_after_s) == (Reason.STORAGE_UNAVAILABLE, 1.0)
    assert held_up.cancelled()


@pytest.mark.parametrize("seconds", [0.5, DEADLINE_S, float("inf")])
async def test_what_comes_in_time_is_returned(seconds: float) -> None:
    end_within(seconds)
    assert await in_time(asyncio.sleep(0, "answer")) == "answer"


def test_calls_are_refused_while_the_database_is_away_and_no_longer() -> None:
    database = Availability()
    assert database.refusal is None
    database.set(False)
    assert database.refusal
    assert database.refusal.reason is Reason.STORAGE_UNAVAILABLE
    assert database.refusal.retry_after_s
    database.set(True)
    assert database.refusal is None


async def test_a_list_whose_turn_does_not_come_is_refused_before_its_deadline(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place in the line goes to the next."""
    over, begun = asyncio.Event(), 0

    async def hang(*_: object) -> Part[object]:
        nonlocal begun
        begun += 1
        await over.wait()
        return Part([], None)

    def listing() -> asyncio.Task[object]:
        request = customer_service_pb2.ListCustomersRequest(parent=PARENT)
        return asyncio.ensure_future(
            api.google_customers.ListCustomers(
                request, metadata=api.as_("reader"), timeout=DEADLINE_S
            )
        )

    await listing()  # whoever calls is known from here on
    monkeypatch.setattr(api.storage.customers, "list_customers", hang)
    at_once = [listing() for _ in range(LISTS_AT_ONCE)]
    await until(lambda: begun == LISTS_AT_ONCE)
    with monkeypatch.context() as near:
        deadline_is_near(near)
        code, reason, _ = await refusal(listing())
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
    next_ = listing()
    over.set()
    await asyncio.gather(*at_once, next_)
    assert begun == LISTS_AT_ONCE + 1
