"""What the gateway could not read is refused together with what is wrong in the rest."""

import json

import pytest
from billing.v1 import customer_service_pb2
from google.protobuf.message import Message
from yandex.cloud.billing.v1 import customer_service_pb2 as published_pb2

from server.domain.errors import BillingError, Reason, invalid_field
from server.rpc.pipeline.unreadable import HEADER, refuse_unreadable


def refused(
    request: Message, *fields: str, named: bytes | None = None, body: str = ""
) -> list[str]:
    if named is None:
        listed = [{"field": field, "description": "No."} for field in fields]
        named = json.dumps({"fieldViolations": listed}).encode()
    with pytest.raises(BillingError) as raised:
        refuse_unreadable(named, request, (), body)
    assert raised.value.reason == Reason.FIELDS_INVALID
    return [each.field for each in raised.value.fields]


def test_a_field_is_named_once() -> None:
    request = published_pb2.InviteCustomerRequest(name="x", invitation_email="ostap@example.com")
    assert refused(request, "resellerId") == ["resellerId", "person"]
    assert refused(request, "reseller_id") == ["reseller_id", "person"]
    assert refused(request, "resellerId", "person") == ["resellerId", "person"]
    assert refused(request, "colour") == ["colour", "reseller_id", "person"]


def test_a_part_of_what_is_named_is_not() -> None:
    request = published_pb2.InviteCustomerRequest(
        reseller_id="bil1", name="x", invitation_email="ostap@example.com"
    )
    request.person.email = "none"
    assert refused(request, "colour") == ["colour", "person.email"]
    assert refused(request, "person") == ["person"]
    assert refused(request, "person.email") == ["person.email"]
    assert refused(request, "person.emailx") == ["person.emailx", "person.email"]


def test_fields_of_a_body_are_compared_as_they_stand_there() -> None:
    request = customer_service_pb2.CreateCustomerRequest(parent="resellers/bil1")
    request.customer.person.name = "x"
    assert "customer.display_name" in refused(request, "colour", body="customer")
    assert "customer.display_name" not in refused(request, "displayName", body="customer")
    assert "customer.display_name" not in refused(request, "customer.displayName", body="customer")


def test_what_no_option_says_is_told_too() -> None:
    def check(_: Message) -> None:
        raise invalid_field("labels", "No.")

    named = b'{"fieldViolations": [{"field": "a", "description": "No."}]}'
    with pytest.raises(BillingError) as raised:
        refuse_unreadable(named, published_pb2.ListCustomersRequest(), (check,), "")
    assert "labels" in [each.field for each in raised.value.fields]


@pytest.mark.parametrize("named", [b"", b"{", b"{}", b"[]", b"\xff", b'{"x": 1}', b"null"])
def test_what_no_gateway_sends_is_refused(named: bytes) -> None:
    assert refused(published_pb2.InviteCustomerRequest(), named=named) == [HEADER]
