"""Streams of events over REST, through the real Envoy: lines of JSON and server-sent events."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from server.domain.events import event_id
from tests.browser import browser
from tests.service import Service

SERVER_SENT = {"accept": "text/event-stream"}


def url(service: Service) -> str:
    return f"{service.rest}/v1/resellers/{service.resellerId}/events:watch"


@contextmanager
def stream(
    service: Service, headers: dict[str, str] | None = None, **query: str
) -> Iterator[httpx.Response]:
    """A stream that has begun."""
    with httpx.stream(
        "GET",
        url(service),
        params=query,
        headers=service.headers | (headers or {}),
        timeout=20,
    ) as answer:
        assert answer.status_code == 200, answer.read()
        yield answer


def server_sent(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yields server-sent events as their fields."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            yield fields
            fields = {}


def test_lines_of_json_come_as_things_happen(service: Service) -> None:
    with stream(service, after="latest") as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["cache-control"] == "no-store"
        lines = map(json.loads, answer.iter_lines())
        begun = next(lines)
        assert set(begun) == {"position"}
        made = service.invite()
        invited = next(lines)
        assert invited["event"]["type"] == "customer.invited"
        assert invited["event"]["operation"] == f"operations/{made['id']}"
        assert invited["event"]["name"].endswith(f"/events/{invited['position']}")
        invitation = httpx.get(
            f"{service.rest}/v1/{invited['event']['invitation']}", headers=service.headers
        ).json()
        assert invitation["customer"] == invited["event"]["customer"]
        sent = next(lines)
        assert sent["event"]["type"] == "invitation.sent"
        assert sent["event"]["actor"]["subject"] == "service"
    with stream(service, after=invited["position"]) as answer:
        lines = map(json.loads, answer.iter_lines())
        assert next(lines) == {"position": invited["position"]}
        assert next(lines) == sent


def test_server_sent_events_have_ids_to_go_on_from(service: Service) -> None:
    with stream(service, SERVER_SENT, after="latest") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        events = server_sent(answer.iter_lines())
        begun = next(events)
        assert (begun["event"], begun["retry"]) == ("position", "1000")
        service.invite()
        invited = next(events)
        assert json.loads(invited["data"])["event"]["type"] == "customer.invited"
        sent = next(events)
    # The header counts, whatever the query says.
    again = {"accept": "Text/Event-Stream;charset=utf-8", "last-event-id": invited["id"]}
    with stream(service, again, after="latest") as answer:
        events = server_sent(answer.iter_lines())
        assert next(events)["id"] == invited["id"]
        assert next(events) == sent


@pytest.mark.parametrize("number", [None, 999_999])
def test_a_position_is_named_as_it_was_sent(service: Service, number: int | None) -> None:
    wrong = "nonsense" if number is None else event_id(service.resellerId, number)
    for headers, query, field in (
        ({"last-event-id": wrong}, {}, "Last-Event-ID"),
        ({"last-event-id": wrong}, {"after": "latest"}, "Last-Event-ID"),
        ({}, {"after": wrong}, "after"),
    ):
        answer = httpx.get(url(service), params=query, headers=service.headers | headers)
        assert answer.status_code == 400, answer.text
        (_, bad, _) = answer.json()["error"]["details"]
        assert [each["field"] for each in bad["fieldViolations"]] == [field]


@contextmanager
def connect_stream(service: Service, **fields: str) -> Iterator[Iterator[tuple[int, Any]]]:
    """A stream of Connect in JSON: the flag of each frame, and what it holds."""
    fields = {"parent": f"resellers/{service.resellerId}"} | fields
    with httpx.stream(
        "POST",
        f"{service.rest}/billing.v1.EventService/WatchEvents",
        content=connect_frame(fields),
        headers=service.headers | {"content-type": "application/connect+json"},
        timeout=20,
    ) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (
            *(200, "application/connect+json"),
        )
        yield connect_frames(answer.iter_raw())


def connect_frame(values: dict[str, str]) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack(">BI", 0, len(text)) + text


def connect_frames(parts: Iterator[bytes]) -> Iterator[tuple[int, Any]]:
    body = b""
    for part in parts:
        body += part
        while len(body) >= 5 and len(body) >= (end := 5 + int.from_bytes(body[1:5], "big")):
            yield body[0], json.loads(body[5:end])
            body = body[end:]
    assert not body


def test_frames_of_connect_come_as_things_happen(service: Service) -> None:
    with connect_stream(service, after="latest") as frames:
        flag, begun = next(frames)
        assert (flag, set(begun)) == (0, {"position"})
        made = service.invite()
        _, invited = next(frames)
        assert invited["event"]["type"] == "customer.invited"
        assert invited["event"]["operation"] == f"operations/{made['id']}"
        _, sent = next(frames)
        assert sent["event"]["type"] == "invitation.sent"
    with connect_stream(service, after=invited["position"]) as frames:
        assert next(frames) == (0, {"position": invited["position"]})
        assert next(frames) == (0, sent)
    with connect_stream(service, after="latest", filter="colour = red") as frames:
        ((flag, end),) = frames
        assert (flag, end["error"]["code"]) == (2, "invalid_argument")
    with connect_stream(service, parent="resellers/bac00000000000000000") as frames:
        ((flag, end),) = frames
        assert (flag, end["error"]["code"]) == (2, "permission_denied")


@pytest.mark.parametrize("headers", [{}, SERVER_SENT])
@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ({"after": "nonsense"}, 400, "FIELDS_INVALID"),
        ({"filter": "colour = red"}, 400, "FIELDS_INVALID"),
        ({"after": "latest", "unknown": "1"}, 400, None),
    ],
)
def test_what_is_wrong_is_a_status_like_all_others(
    service: Service,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
    reason: str | None,
) -> None:
    answer = httpx.get(url(service), params=query, headers=service.headers | headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    if reason:
        assert reason in {each.get("reason") for each in error["details"]}
    assert httpx.get(url(service), headers=headers).status_code == 401


async def test_a_browser_reads_on_by_itself(service: Service) -> None:
    """An EventSource, whose connection is cut and which opens it again after the last event."""
    async with browser() as chromium:
        context = await chromium.new_context(
            extra_http_headers=service.headers,
            bypass_csp=True,  # the test waits by scripts of its own
        )
        page = await context.new_page()
        await page.goto(f"{service.rest}/docs")
        await page.evaluate(
            """url => {
                window.seen = [];
                window.source = new EventSource(url);
                window.source.onmessage = message => window.seen.push(JSON.parse(message.data));
                return new Promise(begun => window.source.addEventListener("position", begun));
            }""",
            f"{url(service)}?after=latest",
        )
        service.invite()
        await page.wait_for_function("window.seen.length === 2")
        await context.set_offline(True)
        service.invite()
        await context.set_offline(False)
        await page.wait_for_function("window.seen.length === 4", timeout=20_000)
        seen: list[dict[str, Any]] = await page.evaluate("window.seen")
        positions = [each["position"] for each in seen]
        assert positions == sorted(set(positions))
        assert [each["event"]["type"] for each in seen] == [
            "customer.invited",
            "invitation.sent",
        ] * 2
