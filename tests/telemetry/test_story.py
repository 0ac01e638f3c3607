"""What happened to an invitation is told by the log alone, found by any of its IDs."""

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service import Service, eventually, running

IDS = ("request", "operation", "invitation", "customer", "reseller")
Lines = list[dict[str, str]]


@pytest.fixture(scope="module")
def logging_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("story") / "var", log_format="json") as service:
        yield service


def lines(service: Service) -> Lines:
    log = service.var / "logs" / "server-0.log"
    return [json.loads(line) for line in log.read_text().splitlines()]


def story(service: Service, id_: str) -> list[str]:
    """Returns what grep finds, in order."""
    return [line["message"] for line in lines(service) if id_ in json.dumps(line)]


def ids_of(found: Lines) -> dict[str, str]:
    (line,) = found
    return {name: line[name] for name in IDS}


def story_of_invite(service: Service, id_: str) -> list[str]:
    """Returns the story once it has the call's own line, which is written after the answer."""

    def invited() -> list[str]:
        told = story(service, id_)
        return told if "yandex.cloud.billing.v1.CustomerService.Invite OK" in told else []

    return eventually(invited)


def test_any_id_tells_the_story(logging_service: Service) -> None:
    request = str(uuid.uuid4())
    answer = httpx.post(
        f"{logging_service.rest}/billing/v1/customers:invite",
        json=logging_service.invitation(name="Рога и копыта"),
        headers={**logging_service.headers, "x-request-id": request},
    )
    assert answer.status_code == 200, answer.text
    logging_service.finished(answer.json()["id"])
    sent = eventually(
        lambda: [
            each
            for each in lines(logging_service)
            if each.get("request") == request and each["message"].startswith("e-mail sent")
        ]
    )
    ids = ids_of(sent)
    assert ids["operation"] == answer.json()["id"]
    assert ids["customer"] == answer.json()["metadata"]["customerId"]
    assert ids["reseller"] == logging_service.resellerId
    for name in ("request", "operation", "invitation", "customer"):
        told = story_of_invite(logging_service, ids[name])
        assert told.count("e-mail sent, attempt 1") == 1, name
    assert len(story(logging_service, ids["reseller"])) >= 2


def test_a_call_that_failed_is_told_with_what_it_named(logging_service: Service) -> None:
    unknown = "bop" + "0" * 17
    headers = {**logging_service.headers, "x-request-id": "failed-1"}
    httpx.get(f"{logging_service.rest}/operations/{unknown}", headers=headers)
    (line,) = eventually(
        lambda: [each for each in lines(logging_service) if each.get("request") == "failed-1"]
    )
    assert (line["level"], line["code"], line["reason"]) == ("WARNING", *["NOT_FOUND"] * 2)
    assert line["operation"] == unknown
    assert line["caller"].startswith("aje")


def test_each_line_is_json(logging_service: Service) -> None:
    port = int(logging_service.grpc.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET /ostap@example.com HTTP/1.1\r\n\r\n")
        while stranger.recv(4096):
            pass
    for name in ("server-0.log", "access.log", "envoy.log"):
        for line in (logging_service.var / "logs" / name).read_text().splitlines():
            assert {"at"} < json.loads(line).keys(), line


def test_nothing_personal_is_told(logging_service: Service) -> None:
    secret = {"resellerId": "ostap@example.com", "name": "Бендер", "invitationEmail": "o@b.example"}
    headers = {**logging_service.headers, "x-request-id": "personal-1"}
    for path in ("billing/v1/customers:invite", "billing/v1/customers/ostap@example.com:activate"):
        httpx.post(f"{logging_service.rest}/{path}", json=secret, headers=headers)
    eventually(lambda: len(story(logging_service, "personal-1")) >= 1)
    told = "".join(
        Path(logging_service.var / "logs" / name).read_text()
        for name in ("server-0.log", "access.log", "envoy.log")
    )
    for personal in ("example.com", "b.example", "Бендер", "Рога", logging_service.token[-20:]):
        assert personal not in told
