"""Deliveries over real sockets: what each kind of receiver makes of them."""

import asyncio
import gzip
import json
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from standardwebhooks import Webhook

from server.worker.webhooks import sender as module
from server.worker.webhooks.sender import LIMIT, Outcome, Sender
from server.worker.webhooks.signing import signed_headers
from tests.worker.webhooks.receivers import (
    Bytes,
    names_of,
    raw_receiver,
    receiving,
    refusing_connections,
)

SECRETS = ["whsec_" + "bmV3" * 8, "whsec_" + "b2xk" * 8]


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(private_allowed=True)
    yield made
    await made.close()


async def test_a_delivery_arrives_as_it_was_signed(sender: Sender) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    body = json.dumps({"id": "evt1", "name": "Рога и копыта"}, ensure_ascii=False)
    headers = signed_headers(SECRETS, "evt1", datetime.now(UTC), body)
    async with receiving(take) as url:
        outcome = await sender.post(url, headers, body.encode())
    assert outcome.succeeded
    (received,) = got
    for secret in SECRETS:
        assert Webhook(secret).verify(received[1], received[0]) == json.loads(body)


async def test_redirects_are_not_followed(sender: Sender) -> None:
    visited = []

    async def redirect(request: web.Request) -> web.Response:
        visited.append(request.path)
        return web.Response(status=307, headers={"location": "/elsewhere"})

    async with receiving(redirect) as url:
        outcome = await sender.post(url, {}, b"{}")
    assert (outcome.status, outcome.succeeded, visited) == (307, False, ["/hook"])


async def test_of_an_endless_answer_only_the_beginning_is_read(sender: Sender) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while sent[0] < 100 << 20:
                await answer.write(b"x" * 65536)
                sent[0] += 65536
        return answer

    sent = [0]
    async with receiving(endless) as url:
        outcome = await sender.post(url, {}, b"{}")
    assert outcome.succeeded
    # What is in the sockets' buffers has left, too.
    assert sent[0] < 10 << 20


async def test_who_hangs_after_the_headers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", timedelta(seconds=0.3))
    hanging = Sender(private_allowed=True)
    for_ever = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"x")
        await for_ever.wait()
        return answer

    async with receiving(hang) as url:
        outcome = await hanging.post(url, {}, b"{}")
        for_ever.set()
    await hanging.close()
    assert outcome.status is None
    assert outcome.error.startswith("no whole answer")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("120", timedelta(minutes=2)),
        ("999999999999", timedelta(days=1)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta()),
        ("soon", None),
        ("-5", None),
        ("1 Jan 99999999999 0:0:0 GMT", None),
        ("1 Jan 2030 0:0:0 +99999999999999999", None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_a_date(
    sender: Sender, header: str, wanted: timedelta | None
) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"retry-after": header})

    async with receiving(busy) as url:
        outcome = await sender.post(url, {}, b"{}")
    assert (outcome.status, outcome.retry_after) == (503, wanted)


async def test_a_bad_certificate_is_refused(sender: Sender, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    async with receiving(take, tls) as url:
        outcome = await sender.post(url, {}, b"{}")
    assert outcome.status is None
    assert "certificate" in outcome.error


async def test_nothing_is_sent_to_where_a_name_or_address_is_not_public() -> None:
    careful = Sender(private_allowed=False)
    taken = []

    async def take(request: web.Request) -> web.Response:
        taken.append(request.path)
        return web.Response()

    async with receiving(take) as url:
        for target in (url, url.replace("127.0.0.1", "localhost")):
            outcome = await careful.post(target, {}, b"{}")
            assert outcome.status is None
            assert "not public" in outcome.error, target
    await careful.close()
    assert taken == []


async def test_who_does_not_listen_is_told_so(sender: Sender) -> None:
    outcome = await sender.post("http://127.0.0.1:1/", {}, b"{}")
    assert (outcome.status, outcome.error) == (None, "the connection was refused")


async def test_proxies_of_the_environment_are_not_used(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    async with receiving(take) as url:
        assert (await sender.post(url, {}, b"{}")).succeeded


async def _posted(url: str, *, private_allowed: bool = True, **named: Any) -> Outcome:
    sender = Sender(private_allowed=private_allowed, **named)
    try:
        return await sender.post(url, {"content-type": "application/json"}, b"{}")
    finally:
        await sender.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP, or has too many headers"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
            "the connection was lost before the answer was whole",
        ),
        (
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
            "the answer is not HTTP, or has too many headers",
        ),
        (
            b"HTTP/1.1 200 OK\r\na: " + b"b" * 1_000_000,
            "the answer is not HTTP, or has too many headers",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
            "the answer is not HTTP, or has too many headers",
        ),
    ],
    ids=["nothing", "not HTTP", "cut off", "many headers", "a long header", "bad chunks"],
)
async def test_an_answer_that_is_no_http_is_an_error(answer: bytes, error: str) -> None:
    async with raw_receiver(answer) as url:
        outcome = await _posted(url)
    assert (outcome.status, outcome.error) == (None, error)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (b"", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a=b;"),
    ],
    ids=["100", "103", "empty lines", "extensions of a chunk"],
)
async def test_what_comes_without_end_around_an_answer_is_cut_off(
    sender: Sender, first: bytes, again: bytes
) -> None:
    tracemalloc.start()
    async with raw_receiver(Bytes(first, again * 20_000, pause_s=0)) as url:
        outcome = await sender.post(url, {}, b"{}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.status is None
    assert not outcome.error.startswith("no whole answer within")
    assert peak < 12 << 20


async def test_an_answer_may_come_behind_informational_ones(sender: Sender) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 204 No Content\r\n\r\n"
    async with raw_receiver(answer) as url:
        assert (await sender.post(url, {}, b"{}")).status == 204


async def test_a_compressed_answer_is_not_unpacked(sender: Sender) -> None:
    bomb = gzip.compress(b"\0" * (32 << 20), mtime=0)
    assert len(bomb) < 64 << 10
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    tracemalloc.start()
    async with raw_receiver(head % len(bomb) + bomb) as url:
        outcome = await sender.post(url, {}, b"{}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.succeeded
    assert peak < 8 << 20


async def test_the_body_of_an_answer_does_not_matter(sender: Sender) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz"
    async with raw_receiver(answer) as url:
        assert (await sender.post(url, {}, b"{}")).succeeded


async def test_an_answer_that_comes_by_drops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", timedelta(seconds=0.5))
    for answer in (
        Bytes(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", pause_s=0.05),
        Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x", pause_s=0.05),
        Bytes(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_s=0.05),
    ):
        async with raw_receiver(answer) as url:
            outcome = await _posted(url)
        assert outcome.status is None
        assert outcome.error.startswith("no whole answer within")


@pytest.mark.parametrize(
    "addresses",
    [
        *(["10.0.0.1"], ["127.0.0.1"], ["169.254.169.254"], ["100.64.0.1"], ["0.0.0.0"]),
        *(["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["fd00::1"]),
        ["10.0.0.1", "::ffff:10.0.0.2", "192.168.0.1"],
    ],
    ids=str,
)
async def test_names_that_lead_to_addresses_that_are_not_public(addresses: list[str]) -> None:
    with refusing_connections() as connected:
        resolver = names_of({"hook.example": [addresses]})
        outcome = await _posted("https://hook.example/", private_allowed=False, resolver=resolver)
    assert outcome.status is None
    assert outcome.error == "the host leads to an address that is not public"
    assert connected == []


async def test_what_a_name_leads_to_is_checked_at_each_connection() -> None:
    """The first answer is checked as any; the second one, a moment later, is another."""
    with refusing_connections() as connected:
        resolver = names_of({"hook.example": [["93.184.216.34"], ["127.0.0.1"]]})
        sender = Sender(private_allowed=False, resolver=resolver)
        outcomes = [await sender.post("https://hook.example/", {}, b"{}") for _ in range(2)]
        await sender.close()
    assert [each[0] for each in connected] == ["93.184.216.34"]
    assert outcomes[0].error == "the connection was refused"
    assert outcomes[1].error == "the host leads to an address that is not public"


async def test_for_development_only_this_machine_is_private_and_allowed() -> None:
    with refusing_connections() as connected:
        for address in ("10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"):
            resolver = names_of({"hook.example": [[address]]})
            outcome = await _posted("http://hook.example/", resolver=resolver)
            assert outcome.error == "the host leads to an address that is not public"
    assert connected == []


async def test_a_host_without_an_address_is_an_error() -> None:
    outcome = await _posted("https://hook.example/", resolver=names_of({}))
    assert (outcome.status, outcome.error) == (None, "the host's name was not found")


async def test_a_valid_certificate_is_accepted_and_no_other() -> None:
    authority = trustme.CA()
    ours = ssl.create_default_context()
    authority.configure_trust(ours)

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    for issued_for, accepted in (("127.0.0.1", True), ("127.0.0.2", False)):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(issued_for).configure_cert(tls)
        async with receiving(take, tls) as url:
            outcome = await _posted(url, tls=ours)
        assert outcome.succeeded is accepted
        if not accepted:
            assert outcome.error == "the certificate is not valid for the host"


async def test_a_receiver_without_tls_is_an_error(sender: Sender) -> None:
    async with raw_receiver(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        outcome = await sender.post(url.replace("http:", "https:"), {}, b"{}")
    assert (outcome.status, outcome.error) == (None, "the TLS handshake failed")


async def test_all_goes_through_a_proxy_where_there_is_one() -> None:
    asked: list[bytes] = []
    refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    async with raw_receiver(refusal, asked) as proxy:
        outcome = await _posted(
            "https://hook.example/secret", private_allowed=False, proxy=proxy.removesuffix("/hook")
        )
    assert (outcome.status, outcome.error) == (None, "the proxy of the service refused")
    assert asked[0].startswith(b"CONNECT hook.example:443 HTTP/1.1")
    outcome = await _posted("https://hook.example/", proxy="http://127.0.0.1:1")
    assert outcome.error == "the proxy of the service can't be reached"


async def test_the_url_is_sent_as_it_was_written(sender: Sender) -> None:
    asked: list[bytes] = []
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with raw_receiver(answer, asked) as url:
        assert (await sender.post(url + "/%D1%85%2f/../a?b=%20+c", {}, b"{}")).succeeded
    assert asked[0].splitlines()[0] == b"POST /hook/%D1%85%2f/../a?b=%20+c HTTP/1.1"
    assert b"accept-encoding: identity" in asked[0].lower()


async def test_names_whose_servers_never_answer_hold_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LIMIT", timedelta(seconds=1))

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        sender = Sender(
            private_allowed=True, resolver=lambda: aiohttp.AsyncResolver(nameservers=[address])
        )
        async with receiving(take) as url:
            hanging = [
                asyncio.create_task(sender.post(f"https://hook-{number}.example/", {}, b"{}"))
                for number in range(100)
            ]
            await asyncio.sleep(0.1)
            assert (await sender.post(url, {}, b"{}")).succeeded
            assert not any(each.done() for each in hanging)
            outcomes = await asyncio.gather(*hanging)
        await sender.close()
        assert silent.recv(512)
    assert {each.status for each in outcomes} == {None}
    assert {each.error for each in outcomes} == {"no whole answer within 1 s"}


async def test_the_limit_is_no_longer_than_it_says(sender: Sender) -> None:
    """aiohttp rounds limits up to whole seconds of its clock, above a threshold."""
    limit = sender._session.timeout
    assert limit.total == LIMIT.total_seconds() <= limit.ceil_threshold
