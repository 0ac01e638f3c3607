"""What browsers, mail programs and scanners ask of a page: people always read a page."""

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.test_answers import failing
from tests.gateway.upstream import Context

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "/billing.v1.InvitationPageService"
GET, ANSWER = f"{SERVICE}/GetInvitationPage", f"{SERVICE}/AnswerInvitationPage"
TOKEN = "6b1a" + "To-ken_" + "x" * 25
FORM = {"content-type": "application/x-www-form-urlencoded"}


def served(harness: GatewayHarness, text: str = "<p>the page</p>", status: str = "200") -> None:
    """Has the upstream answer with a page."""

    async def answer(_request: Any, context: Context) -> Any:
        await context.send_initial_metadata(
            (("x-http-status", status), ("content-security-policy", "default-src 'none'"))
        )
        body = harness.upstream.message("google.api.HttpBody")
        return body(content_type="text/html; charset=utf-8", data=text.encode())

    harness.upstream.answers |= {GET: answer, ANSWER: answer}


def check_page(answer: httpx.Response, status: int) -> None:
    """Checks an answer of the gateway's own to a browser."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"]
    assert re.search(r'<section lang="en"><h1>[A-Z].+</h1><p>', answer.text)
    assert '<section lang="ru"><h1>' in answer.text
    assert "{" not in re.sub("<style>.*</style>", "", answer.text)
    assert "%" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        f"/invitations/{TOKEN}",
        f"/invitations/{TOKEN}?",
        f"/invitations/{TOKEN}?utm_source=mail&utm_medium=%ff&&token=other&=",
        f"/invitations/{TOKEN}?fbclid=a/b?c=%2F",
        f"/invitations/{TOKEN}/",
        f"/invitations/{TOKEN}//?a=b",
        f"//invitations/{TOKEN}",
        f"///invitations//{TOKEN}/",
        f"/INVITATIONS/{TOKEN}",
        f"/Invitations/{TOKEN}/",
        f"/invitations/{TOKEN}%20",
        f"/invitations/{TOKEN}.",
        f"/invitations/{TOKEN}>,",
        f"/invitations/{TOKEN})%C2%A0",
        f"/invitations/{TOKEN}/index.html",
        f"/invitations/{TOKEN}%2Fx",
        f"/invitations/{TOKEN};jsessionid=1",
        f"/invitations/{TOKEN}:accept",
        f"/invitations/%36b1a{TOKEN[4:]}",
    ],
)
async def test_what_mail_programs_add_to_a_link_is_dropped(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str
) -> None:
    served(harness)
    for ask in (
        rest.get(harness.rest + path),
        rest.post(harness.rest + path, data={"answer": "accept"}),
    ):
        answer = await ask
        assert answer.status_code == 200, answer.text
        assert answer.text == "<p>the page</p>"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert [call.request.token for call in harness.upstream.calls] == [TOKEN, TOKEN]
    assert harness.upstream.calls[1].request.form.data == b"answer=accept"


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("stop=yes", "yes"),
        ("utm_source=x&stop=yes&utm_medium=y", "yes"),
        ("stop=yesterday", ""),
        ("nonstop=yes", ""),
    ],
)
async def test_a_page_asks_whether_to_write(
    harness: GatewayHarness, rest: httpx.AsyncClient, query: str, asked: str
) -> None:
    served(harness)
    for verb in ("GET", "POST"):
        answer = await rest.request(verb, f"/invitations/{TOKEN}?{query}")
        assert answer.status_code == 200
    got, posted = harness.upstream.calls
    assert (got.request.token, got.request.stop) == (TOKEN, asked)
    assert posted.request.token == TOKEN


@pytest.mark.parametrize(
    ("query", "told"),
    [
        *(("too_late=accept", "accept"), ("too_late=decline", "decline")),
        *(
            ("too_late=acceptable", ""),
            ("too_late=", ""),
            ("too_late=%61", ""),
            ("x&too_late=accept", ""),
        ),
    ],
)
async def test_a_page_knows_what_it_led_to_itself(
    harness: GatewayHarness, rest: httpx.AsyncClient, query: str, told: str
) -> None:
    served(harness)
    for verb in ("GET", "POST"):
        answer = await rest.request(verb, f"/invitations/{TOKEN}?{query}")
        assert answer.status_code == 200
    got, posted = harness.upstream.calls
    assert (got.request.token, got.request.too_late) == (TOKEN, told)
    assert posted.request.token == TOKEN


@pytest.mark.parametrize(
    "path",
    [
        *("/invitations", "/invitations/", "//invitations", "/invitations//", "/invitations/?a=b"),
        *("/invitations/%ff", "/invitations/%00", "/invitations/%", "/invitations/а", "/invitations/%zz"),
        *(f"/invitations/{'x' * 65}", f"/invitations/{'x' * 20_000}", "/invitations/:accept"),
    ],
)  # fmt: skip
async def test_what_is_no_link_is_asked_for_all_the_same(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str
) -> None:
    served(harness, "<p>leads nowhere</p>", "404")
    answer = await rest.get(harness.rest + path)
    assert (answer.status_code, answer.text) == (404, "<p>leads nowhere</p>")
    assert [call.request.token for call in harness.upstream.calls] == ["-"]


@pytest.mark.parametrize("status", ["200", "404", "410"])
async def test_head_is_answered_as_get_is_without_the_body(
    harness: GatewayHarness, rest: httpx.AsyncClient, status: str
) -> None:
    served(harness, status=status)
    for query in ("", "?utm_source=x"):
        got = await rest.get(f"/invitations/{TOKEN}{query}")
        for _ in range(3):  # the connection lives on
            head = await rest.head(f"/invitations/{TOKEN}{query}")
            assert head.status_code == got.status_code
            assert head.content == b""
            varying = {"date", "x-request-id", "x-envoy-upstream-service-time"}
            assert {k: v for k, v in head.headers.items() if k not in varying} == {
                k: v for k, v in got.headers.items() if k not in varying
            }
    assert {call.method for call in harness.upstream.calls} == {GET}


async def test_a_body_with_get_does_not_matter(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    served(harness)
    answer = await rest.request("GET", f"/invitations/{TOKEN}", content=b"{}")
    assert (answer.status_code, answer.text) == (200, "<p>the page</p>")


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
async def test_other_http_methods_are_told_by_a_page(rest: httpx.AsyncClient, verb: str) -> None:
    answer = await rest.request(verb, f"/invitations/{TOKEN}?a=b")
    check_page(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("method", [GET, ANSWER])
@pytest.mark.parametrize(
    ("code", "status"), [(3, 400), (4, 504), (5, 404), (8, 429), (13, 500), (14, 503), (16, 401)]
)
async def test_what_the_server_refuses_is_told_by_a_page(
    harness: GatewayHarness, rest: httpx.AsyncClient, method: str, code: int, status: int
) -> None:
    harness.upstream.answers[method] = failing(code, metadata=(("retry-after", "7"),))
    verb = "GET" if method == GET else "POST"
    answer = await rest.request(verb, f"/invitations/{TOKEN}")
    check_page(answer, status)
    assert answer.headers["retry-after"] == "7"
    head = await rest.head(f"/invitations/{TOKEN}") if method == GET else None
    assert head is None or (head.status_code, head.content) == (status, b"")


async def test_a_program_that_posts_with_a_key_reads_the_status(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    harness.upstream.answers[ANSWER] = failing(3)
    answer = await rest.post(f"/invitations/{TOKEN}", headers={"idempotency-key": "x"})
    assert answer.json()["code"] == 3
    check_page(await rest.post(f"/invitations/{TOKEN}", headers={"idempotency-key": ""}), 400)


async def test_a_large_form_is_refused_by_a_page(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    served(harness)
    path = f"/invitations/{TOKEN}"
    answer = await rest.post(
        harness.rest + path, content=b"answer=accept&" + b"x" * 400, headers=FORM
    )
    assert answer.status_code == 200
    check_page(await rest.post(harness.rest + path, content=b"%41=%41&" * 8_000, headers=FORM), 413)
    assert len(harness.upstream.calls) == 1


async def test_large_headers_are_told_by_a_page(rest: httpx.AsyncClient) -> None:
    headers = {f"cookie-{number}": "x" * 4_000 for number in range(9)}
    check_page(await rest.get(f"/invitations/{TOKEN}", headers=headers), 431)


async def test_bad_http_is_told_by_a_page(harness: GatewayHarness) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
    writer.write(f"POST /invitations/{TOKEN}?a=b HTTP/1.1\r\nhost: x\r\n".encode())
    writer.write(b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello")
    answer = await reader.read(4_000)
    assert answer.startswith(b"HTTP/1.1 400")
    writer.close()


async def test_outages_are_told_by_a_page(tmp_path: Path) -> None:
    async with (
        running(tmp_path, timeout_s=0.4) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=10) as rest,
    ):
        path = f"//invitations/{TOKEN}/?utm_source=x"

        async def slow(_request: Any, _context: Context) -> None:
            await asyncio.sleep(2)

        harness.upstream.answers = {GET: slow, ANSWER: slow}
        check_page(await rest.get(harness.rest + path), 504)
        check_page(await rest.post(harness.rest + path, data={"answer": "accept"}), 504)
        await harness.upstream.stop()
        for ask in (
            rest.get(harness.rest + path),
            rest.post(harness.rest + path, data={"answer": "accept"}),
        ):
            answer = await ask
            check_page(answer, 503)
            assert answer.headers["retry-after"]
        head = await rest.head(harness.rest + path)
        assert (head.status_code, head.content) == (503, b"")


async def test_too_many_requests_are_told_by_a_page(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_s=1) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=60) as rest,
    ):
        asked = (rest.get(f"{harness.rest}/invitations/{TOKEN}") for _ in range(60))
        answers = await asyncio.gather(*asked)
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        for answer in limited:
            check_page(answer, 429)
            assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    "path",
    [
        *("/x", f"/invitation/{TOKEN}", f"/invitations%2F{TOKEN}", "/invitations:accept"),
        *(f"/%69nvitations/{TOKEN}", f"/invitations{TOKEN}", "/x%", "/%ff"),
    ],
)  # fmt: skip
async def test_browsers_read_a_page_where_there_is_nothing(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str
) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    check_page(await rest.get(harness.rest + path, headers=browser), 404)
    check_page(
        await rest.post(harness.rest + path, headers=browser, data={"answer": "accept"}), 404
    )
    for program in ({"accept": "*/*"}, {"accept": "application/json"}):
        answer = await rest.get(harness.rest + path, headers=program)
        assert (answer.status_code, answer.json()["code"]) == (404, 5)


async def test_programs_still_read_a_status(
    harness: GatewayHarness, native: grpc.aio.Channel
) -> None:
    harness.upstream.answers[GET] = failing(14)
    call = native.unary_unary(GET, request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for path in (f"/invitations/{TOKEN}", f"/INVITATIONS/{TOKEN}", "/none"):
        call = native.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", metadata=(("accept", "text/html"),))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "<" not in str(caught.value.details())
