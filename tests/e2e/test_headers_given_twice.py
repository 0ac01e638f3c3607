"""Headers that must be one and come as two: refused, and nothing is done."""

import json
import socket
import uuid
from typing import Any

import grpc
import httpx
import pytest
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc

from tests.service import Service

INVITE = "/billing/v1/customers:invite"


def key() -> str:
    return str(uuid.uuid4())


def refused_fields(answer: httpx.Response) -> list[str]:
    return [
        each["field"]
        for detail in answer.json()["details"]
        for each in detail.get("fieldViolations", ())
    ]


def customers(service: Service) -> set[str]:
    answer = httpx.get(
        f"{service.rest}/billing/v1/customers",
        params={"resellerId": service.resellerId, "pageSize": 1000},
        headers=service.headers,
    )
    return {each["id"] for each in answer.json()["customers"]}


def test_two_idempotency_keys_over_rest(service: Service) -> None:
    before = customers(service)
    for first, second in ((key(), key()), (key(), "x"), ("", key())):
        answer = httpx.post(
            service.rest + INVITE,
            json=service.invitation(),
            headers=[
                *service.headers.items(), ("idempotency-key", first), ("Idempotency-Key", second),
            ],
        )  # fmt: skip
        assert answer.status_code == 400, answer.text
        assert refused_fields(answer) == ["Idempotency-Key"]
    assert customers(service) == before


def test_one_key_that_a_proxy_doubles_is_one(service: Service) -> None:
    one = key()
    body = service.invitation()
    headers = [*service.headers.items(), ("idempotency-key", one), ("idempotency-key", one)]
    first, again = (
        httpx.post(service.rest + INVITE, json=body, headers=headers).json() for _ in range(2)
    )
    assert first["id"] == again["id"]


@pytest.mark.parametrize(
    ("name", "field"), [("idempotency-key", "Idempotency-Key"), ("authorization", "Authorization")]
)
def test_two_values_are_refused_natively(service: Service, name: str, field: str) -> None:
    request: Any = customer_service_pb2.InviteCustomerRequest(
        reseller_id=service.resellerId,
        name="n",
        invitation_email=f"{key()}@example.com",
        person=customer_service_pb2.CustomerPerson(name="p"),
    )
    before = customers(service)
    more = ((name, key()), (name, key()))
    with grpc.insecure_channel(service.grpc) as channel:
        stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Invite(request, metadata=(*service.metadata, *more))
        code = refused.value.code()
        # The gateway joins values of Authorization into one that nobody knows.
        denied = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED)
        assert code is denied[0] if name == "idempotency-key" else code in denied
        if code is denied[0]:
            assert field in str(refused.value.details())
    assert customers(service) == before


def test_two_keys_on_a_read_are_ignored_as_one_is(service: Service) -> None:
    answer = httpx.get(
        f"{service.rest}/operations/{service.invite()['id']}",
        headers=[*service.headers.items(), ("idempotency-key", key()), ("idempotency-key", key())],
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "doubled",
    [
        ("content-type", "application/json", "text/plain"),
        ("content-type", "text/plain", "application/json"),
        ("authorization", "Bearer x", "Bearer y"),
        ("content-length", "LENGTH", "3"),
        ("host", "a.example", "b.example"),
        ("host", "a.example", "a.example"),
    ],
)
def test_two_of_a_header_of_http_itself_are_refused(
    service: Service, doubled: tuple[str, str, str]
) -> None:
    name, first, second = doubled
    host = service.rest.removeprefix("http://")
    body = json.dumps(service.invitation()).encode()
    length = str(len(body))
    headers = {
        "host": [host], "authorization": [service.headers["authorization"]],
        "content-type": ["application/json"], "content-length": [length], "connection": ["close"],
    } | {name: [first.replace("LENGTH", length), second]}  # fmt: skip
    lines = [f"{each}: {value}" for each, values in headers.items() for value in values]
    address, port = host.split(":")
    before = customers(service)
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([f"POST {INVITE} HTTP/1.1", *lines, "", ""]).encode() + body)
        status = connection.makefile("rb").readline()
    assert status.split()[1] in (b"400", b"401", b"415"), status
    assert customers(service) == before


def test_two_request_ids_are_none(service: Service) -> None:
    answer = httpx.get(
        f"{service.rest}/endpoints", headers=[("x-request-id", "a"), ("x-request-id", "b")]
    )
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] not in ("a", "b", "a,b")
