"""Bad HTTP, byte by byte: what can be answered is answered in the contract's form."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.status import check_refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE = ("x-forwarded-f", "x-forwarded-fox", "x-forwarded-for-real", "x-forwarded-")
POST = b"POST /iam/v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


async def exchange(harness: GatewayHarness, sent: bytes) -> httpx.Response:
    """Sends bytes and reads one HTTP/1.1 answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = httpx.Headers([line.partition(": ")[::2] for line in lines])
            body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    asked = httpx.Request("GET", "http://localhost/")
    return httpx.Response(int(first.split()[1]), headers=headers, content=body, request=asked)


BAD = {
    "not HTTP": b"HELLO\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no Host": b"GET /operations/a HTTP/1.1\r\n\r\n",
    "HTTP/1.0": b"GET /operations/a HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /operations/a\r\n\r\n",
    "HTTP/3.9": b"GET /operations/a HTTP/3.9\r\nHost: a\r\n\r\n",
    "header without colon": b"GET /operations/a HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    "NUL in a header": b"GET /operations/a HTTP/1.1\r\nHost: a\r\nx: a\x00b\r\n\r\n",
    "space before the colon": b"GET /operations/a HTTP/1.1\r\nHost: a\r\nx : a\r\n\r\n",
    "byte above ASCII in the path": b"GET /operations/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /operations/a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "websocket": b"GET /operations/a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "length is no number": POST + b"Content-Length: x\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
async def test_bad_http_is_refused_in_our_form(harness: GatewayHarness, sent: bytes) -> None:
    check_refusal(await exchange(harness, sent), 400, 3, "REQUEST_MALFORMED")
    assert harness.upstream.calls == []


async def test_an_unknown_verb_is_told_which_are_allowed(harness: GatewayHarness) -> None:
    answer = await exchange(harness, b"PROPFIND /operations/a HTTP/1.1\r\nHost: a\r\n\r\n")
    check_refusal(answer, 405, 12, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_an_unsupported_transfer_encoding_is_refused(harness: GatewayHarness) -> None:
    answer = await exchange(harness, POST + b"Transfer-Encoding: gzip\r\n\r\n")
    check_refusal(answer, 501, 12, "HTTP_UNSUPPORTED")


async def test_headers_beyond_what_is_read_are_refused(harness: GatewayHarness) -> None:
    large = b"x-large: " + b"a" * (300 << 10)
    answer = await exchange(harness, b"GET / HTTP/1.1\r\nHost: a\r\n" + large + b"\r\n\r\n")
    check_refusal(answer, 431, 3, "HEADERS_TOO_LARGE")


async def test_a_body_that_does_not_arrive_is_refused_in_time(tmp_path: Path) -> None:
    async with running(tmp_path, request_arrival_s=0.5) as harness:
        answer = await exchange(harness, POST + b"Content-Length: 2\r\n\r\n{")
    check_refusal(answer, 408, 4, "DEADLINE_EXCEEDED")


async def test_options_for_the_whole_server_are_refused(harness: GatewayHarness) -> None:
    answer = await exchange(harness, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    check_refusal(answer, 404, 5, "METHOD_UNKNOWN")


async def test_an_offered_upgrade_to_h2_is_no_error(harness: GatewayHarness) -> None:
    """What `curl --http2` sends."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    answer = await exchange(harness, b"GET /operations/a HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n")
    assert answer.status_code == 200


async def test_a_bad_request_leaves_the_connection_usable(harness: GatewayHarness) -> None:
    """The first of two requests on one connection is refused, the second answered."""
    refused = b"GET /operations/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
    try:
        writer.write(refused + b"GET /operations/a HTTP/1.1\r\nHost: a\r\n\r\n")
        first = await reader.readuntil(b"]}")
        second = await reader.readuntil(b"false}")
    finally:
        writer.close()
    assert first.startswith(b"HTTP/1.1 404 ")
    assert second.startswith(b"HTTP/1.1 200 ")


async def test_requests_over_the_rate_are_refused_with_when_to_retry(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_s=1) as harness,
        httpx.AsyncClient(base_url=harness.rest) as rest,
    ):
        answers = await asyncio.gather(*(rest.get("/operations/a") for _ in range(10)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    found = check_refusal(refused[0], 429, 8, "RATE_EXCEEDED")
    assert refused[0].headers["retry-after"] == "1"
    assert found["RetryInfo"]["retryDelay"] == "1s"
    assert json.loads(refused[0].content)["code"] == 8


@pytest.mark.parametrize(
    ("trusted", "said", "counts"),
    [
        ((), "192.0.2.7", "127.0.0.1"),
        (("10.0.0.0/8",), "192.0.2.7", "127.0.0.1"),
        (("127.0.0.0/8",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.0/8",), "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        (("127.0.0.0/8", "192.0.2.0/24"), "198.51.100.1, 192.0.2.7", "198.51.100.1"),
        (("127.0.0.1/32",), "2001:db8::7", "2001:db8::7"),
        (("127.0.0.1/32",), "nonsense", "127.0.0.1"),
        (("127.0.0.1/32",), "", "127.0.0.1"),
    ],
)
async def test_x_forwarded_for_counts_from_trusted_proxies_alone(
    tmp_path: Path, trusted: tuple[str, ...], said: str, counts: str
) -> None:
    headers = {
        "x-forwarded-for": said,
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        **dict.fromkeys(GONE, "x"),
    }
    async with (
        running(tmp_path, trusted_proxies=trusted) as harness,
        httpx.AsyncClient(timeout=10, verify=False) as client,
    ):
        for rest in (harness.rest, harness.rest_tls.replace("localhost", "127.0.0.1")):
            answer = await client.get(f"{rest}/operations/x", headers=headers)
            assert answer.status_code == 200
            metadata = harness.upstream.calls[-1].metadata
            assert metadata["x-forwarded-for"] == counts
            assert "evil.example" not in str(metadata)
            assert not {*GONE, "x-forwarded-proto", "x-envoy-internal"} & set(metadata)
