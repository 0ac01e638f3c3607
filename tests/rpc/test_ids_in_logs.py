"""What a call's line in the log says: also of what the call has made."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from billing.v1 import customer_pb2
from billing.v1 import customer_service_pb2 as customers

from server.config import Settings
from server.telemetry.call_log import CALL_LOG
from tests.rpc.conftest import Api
from tests.rpc.test_calls import request
from tests.rpc.webhooks import PARENT, Hooks

Line = Callable[[], dict[str, Any]]


@pytest.fixture
def line() -> Iterator[Line]:
    """Returns the last call's line."""
    out = io.StringIO()
    CALL_LOG.configure(out, as_json=True, level=logging.INFO)

    def last() -> dict[str, Any]:
        CALL_LOG.write()
        found: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
        return found

    yield last
    CALL_LOG.write()
    CALL_LOG.configure(out, as_json=False, level=logging.CRITICAL)


async def test_a_webhook_that_is_made(api: Api, settings: Settings, line: Line) -> None:
    made = await Hooks(api, settings).create()
    assert line()["webhook"] == made.name.rpartition("/")[2]


async def test_a_customer_that_is_made(api: Api, line: Line) -> None:
    made = await api.google_customers.CreateCustomer(
        customers.CreateCustomerRequest(
            parent=PARENT, customer=customer_pb2.Customer(display_name="Horns")
        ),
        metadata=api.as_("writer"),
    )
    found = line()
    assert found["customer"] == made.name.rpartition("/")[2]
    assert found["operation"]
    assert "invitation" not in found  # there is none


async def test_a_customer_that_is_invited(api: Api, line: Line) -> None:
    operation = await api.customers.Invite(request(), metadata=api.as_("writer"))
    found = line()
    assert found["operation"] == operation.id
    assert found["invitation"][3:] == found["customer"][3:] == operation.id[3:]
