"""Fields that the gateway can't read: one refusal names them and what the server finds in the others."""

from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc

from gateway.http_rules import DescriptorSet
from tests.gateway.status import bare_status, details, violations
from tests.service import Service

# In Connect's JSON each can be called in the same way.
METHODS = [
    method.path
    for method in DescriptorSet.read(Path("gen", "descriptors.pb")).methods
    if method.connect_rules and not method.streaming
]
INVITE = "/billing/v1/customers:invite"
TEXT = "It must be a string."
REQUIRED = "Required."
NO_PHONE = "Not a telephone number; write it like +7 495 123-45-67."


def refused(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    found = details(bare_status(answer))
    assert found["ErrorInfo"]["reason"] == "FIELDS_INVALID"
    return violations(found)


BODIES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a number for a text": (
        {"name": 5, "invitationEmail": "", "person": {"phone": "none"}},
        {"name": TEXT, "invitationEmail": REQUIRED, "person.phone": NO_PHONE},
    ),
    "within": (
        {"name": "", "person": {"name": [1], "phone": "none", "tin": {}}},
        {"name": REQUIRED, "person.name": TEXT, "person.tin": TEXT, "person.phone": NO_PHONE},
    ),
    "a text for an object": (
        {"name": "", "person": "x"},
        {"name": REQUIRED, "person": "It must be an object."},
    ),
    "a name that no field has": (
        {"name": "", "colour": {"a": [1, None]}},
        {"name": REQUIRED, "colour": "There is no such field."},
    ),
}


@pytest.mark.parametrize(("changes", "wrong"), BODIES.values(), ids=BODIES)
def test_a_body_is_refused_for_all_that_is_wrong(
    service: Service, changes: dict[str, Any], wrong: dict[str, str]
) -> None:
    body = service.invitation(**changes)
    answer = httpx.post(service.rest + INVITE, json=body, headers=service.headers)
    assert refused(answer) == wrong


def test_fields_given_twice_or_one_too_many_are_named_beside_others(service: Service) -> None:
    body = '{"resellerId": "%s", "name": "", "name": "x", "invitationEmail": "no address"}'
    answer = httpx.post(
        service.rest + INVITE,
        content=body % service.resellerId,
        headers={**service.headers, "content-type": "application/json"},
    )
    found = refused(answer)
    assert found.pop("invitationEmail").startswith("Not an e-mail address")
    assert found == {"name": "The field is given twice.", "person": REQUIRED}


def test_lists_durations_and_maps_are_named_beside_others(service: Service) -> None:
    answer = httpx.post(
        f"{service.rest}/v1/resellers/{service.resellerId}/customers:invite",
        json={
            "reminderDays": [1, "x", 2],
            "timeToLive": "soon",
            "customer": {"email": "no address", "labels": {"tier": 5}},
        },
        headers=service.headers,
    )
    found = refused(answer)
    assert found["reminderDays[1]"] == "It must be a whole number."
    assert found["timeToLive"].startswith("It must be a number of seconds")
    assert found["customer.labels.tier"] == TEXT
    assert found["customer.displayName"] == REQUIRED
    assert found["customer.email"].startswith("Not an e-mail address")
    assert len(found) == 5


def test_a_query_is_refused_for_all_that_is_wrong(service: Service) -> None:
    answer = httpx.get(
        f"{service.rest}/billing/v1/customers",
        params={"pageSize": "1e30", "pageToken": "x" * 101, "colour": "red"},
        headers=service.headers,
    )
    assert refused(answer) == {
        "pageSize": "It must be a whole number.",
        "resellerId": REQUIRED,
        "pageToken": "Must be <=100 characters long.",
        "colour": "There is no such parameter.",
    }


def test_query_and_body_are_refused_at_once(service: Service) -> None:
    created = httpx.post(
        f"{service.rest}/v1/resellers/{service.resellerId}/customers",
        json={"displayName": "x", "person": {"name": "x", "longname": "x"}},
        headers=service.headers,
    ).json()
    changed = f"{service.rest}/v1/{created['name']}"
    answer = httpx.patch(
        changed,
        params={"updateMask": "displayName,colour"},
        json={"displayName": 5, "externalId": "x" * 1000},
        headers=service.headers,
    )
    found = refused(answer)
    assert found["displayName"] == TEXT
    assert found["updateMask"] == "There is no field colour."
    assert set(found) == {"displayName", "updateMask", "externalId"}
    assert httpx.get(changed, headers=service.headers).json() == created


def test_who_may_not_ask_is_told_that_alone(service: Service) -> None:
    body = service.invitation(name=5)
    url = service.rest + INVITE
    assert httpx.post(url, json=body).status_code == 401
    forged = {"authorization": f"Bearer {service.token[:-4]}AAAA"}
    assert httpx.post(url, json=body, headers=forged).status_code == 401
    elsewhere = body | {"resellerId": "bil" + "0" * 17}
    assert httpx.post(url, json=elsewhere, headers=service.headers).status_code == 403
    assert httpx.get(f"{service.rest}/v1/resellers/none/customers?pageSize=x").status_code == 401


@pytest.mark.parametrize("path", METHODS)
def test_no_method_does_without_what_it_was_asked(service: Service, path: str) -> None:
    answer = httpx.post(service.rest + path, json={"colour": 1}, headers=service.headers)
    assert answer.status_code == 400, answer.text
    assert "colour: There is no such field." in answer.json()["message"]


def test_what_is_too_much_to_name_is_refused_all_the_same(service: Service) -> None:
    body = service.invitation(**{f"a{number:x}" + "b" * 90: 1 for number in range(60)})
    answer = httpx.post(service.rest + INVITE, json=body, headers=service.headers)
    assert len(refused(answer)) == 50


def test_connect_is_told_all_at_once(service: Service) -> None:
    answer = httpx.post(
        f"{service.rest}/yandex.cloud.billing.v1.CustomerService/Invite",
        json=service.invitation(name=5, invitationEmail=""),
        headers={**service.headers, "connect-protocol-version": "1"},
    )
    assert answer.status_code == 400
    told = answer.json()
    assert told["code"] == "invalid_argument"
    assert f"name: {TEXT}" in told["message"]
    assert f"invitationEmail: {REQUIRED}" in told["message"]


def test_no_caller_can_send_the_gateways_header(service: Service) -> None:
    with grpc.insecure_channel(service.rest.removeprefix("http://")) as channel:
        stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        answer = stub.List(
            customer_service_pb2.ListCustomersRequest(reseller_id=service.resellerId),
            metadata=(*service.metadata, ("x-unreadable-fields-bin", b"{}")),
        )
    assert answer is not None
