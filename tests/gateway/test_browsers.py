"""What browsers and simple HTTP clients need: CORS, HEAD, compressed answers, a way to the docs."""

import gzip
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.docs import static_files
from gateway.http_rules import DescriptorSet
from tests.gateway.conftest import TOKEN, GatewayHarness, running
from tests.gateway.status import check_headers, check_refusal
from tests.gateway.test_answers import failing

pytestmark = pytest.mark.asyncio(loop_scope="session")

ORIGIN = "https://app.example.com"
ORIGINS = [ORIGIN, "http://localhost:3000"]
GET = "/google.longrunning.Operations/GetOperation"
GZIP = {"accept-encoding": "gzip"}
_NUMBERS = itertools.cycle(range(1, 255))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cross_origin(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[GatewayHarness]:
    var = tmp_path_factory.mktemp("origins")
    async with running(var, cors_origins=ORIGINS, static_files=static_files()) as harness:
        yield harness


@pytest_asyncio.fixture(params=["h1", "h2"], loop_scope="session")
async def web(
    cross_origin: GatewayHarness, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    cross_origin.upstream.answers.clear()
    cross_origin.upstream.calls.clear()
    h2 = request.param == "h2"
    # An address for each test, since one gets a document so many times a second.
    address = f"127.0.3.{next(_NUMBERS)}"
    transport = httpx.AsyncHTTPTransport(local_address=address, http1=not h2, http2=h2)
    async with httpx.AsyncClient(
        base_url=cross_origin.rest, headers=TOKEN, timeout=10, transport=transport
    ) as client:
        yield client


ANSWERS = [
    ("GET", "/operations/a", 200),
    ("HEAD", "/operations/a", 200),
    ("GET", "/v1/operations/a", 200),
    ("GET", "/operations/a?nmae=b", 400),
    ("GET", "/nothing", 404),
    ("PUT", "/operations/a", 405),
    ("GET", "/openapi.json", 200),
    ("GET", "/", 302),
]


@pytest.mark.parametrize(("verb", "path", "status"), ANSWERS)
@pytest.mark.parametrize("origin", ORIGINS)
async def test_every_answer_names_an_origin_that_may_read_it(
    web: httpx.AsyncClient, verb: str, path: str, status: int, origin: str
) -> None:
    response = await web.request(verb, path, headers={"origin": origin})
    assert response.status_code == status
    assert response.headers.get_list("access-control-allow-origin") == [origin]
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after", "x-operation-poll-interval", "grpc-status"} <= {*exposed}
    assert "origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


async def test_the_servers_errors_name_the_origin_too(
    cross_origin: GatewayHarness, web: httpx.AsyncClient
) -> None:
    cross_origin.upstream.answers[GET] = failing(5)
    response = await web.get("/v1/operations/a", headers={"origin": ORIGIN})
    assert response.status_code == 404
    assert response.headers["access-control-allow-origin"] == ORIGIN


LOOK_ALIKES = [
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.test",
    "https://evil.test/https://app.example.com",
    "https://xapp.example.com",
    "https://app-example.com",
    "https://example.com",
    "https://APP.EXAMPLE.COM",
    "https://app.example.com/",
    "https://localhost:3000",
    "http://localhost",
    "null",
    "*",
    "",
]


@pytest.mark.parametrize("origin", LOOK_ALIKES)
@pytest.mark.parametrize("verb", ["GET", "OPTIONS"])
async def test_other_origins_may_read_nothing(
    cross_origin: GatewayHarness, web: httpx.AsyncClient, origin: str, verb: str
) -> None:
    headers = {"origin": origin, "access-control-request-method": "GET"}
    response = await web.request(verb, "/operations/a", headers=headers)
    assert response.status_code == (200 if verb == "GET" else 405)
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert "origin" in response.headers["vary"]
    assert len(cross_origin.upstream.calls) == (verb == "GET")


async def test_two_origins_are_none(web: httpx.AsyncClient) -> None:
    headers = [("origin", ORIGIN), ("origin", "https://evil.test"), *TOKEN.items()]
    response = await web.get("/operations/a", headers=headers)
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/operations/a",
        "/v1/resellers/a/customers:invite",
        "/openapi.json",
        "/nothing",
        "/a.B/C",
        "/",
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST", "PATCH", "DELETE", "HEAD"])
async def test_a_preflight_is_answered_without_the_server(
    cross_origin: GatewayHarness, web: httpx.AsyncClient, path: str, verb: str
) -> None:
    asked = "authorization,content-type,idempotency-key,x-grpc-web,connect-protocol-version"
    response = await web.options(
        path,
        headers={
            "origin": ORIGIN,
            "access-control-request-method": verb,
            "access-control-request-headers": asked,
        },
    )
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert verb in response.headers["access-control-allow-methods"].split(", ")
    allowed = response.headers["access-control-allow-headers"].split(", ")
    assert {*asked.split(",")} <= {*allowed}
    assert int(response.headers["access-control-max-age"]) > 0
    assert cross_origin.upstream.calls == []


async def test_without_origins_nobody_is_allowed(rest: httpx.AsyncClient) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "GET"}
    for verb, status in (("GET", 200), ("OPTIONS", 405)):
        response = await rest.request(verb, "/operations/a", headers=asked)
        assert response.status_code == status
        assert not [name for name in response.headers if name.startswith("access-control-")]


GETS = [
    rule.template
    for method in DescriptorSet.read(Path("gen", "descriptors.pb")).methods
    for rule in method.rest_rules
    if rule.verb == "GET" and not method.streaming
]


@pytest.mark.parametrize("template", GETS)
async def test_head_is_where_get_is(rest: httpx.AsyncClient, template: str) -> None:
    path = re.sub(r"\{\w+=([^}]*)\}", r"\1", template).replace("**", "a").replace("*", "a")
    path = re.sub(r"\{\w+\}", "a", path)
    got, asked = await rest.get(path), await rest.head(path)
    assert (got.status_code, asked.status_code, asked.content) == (200, 200, b"")
    check_headers(asked.headers)
    changing = {"date", "x-request-id"}
    assert {name: value for name, value in asked.headers.items() if name not in changing} == {
        name: value for name, value in got.headers.items() if name not in changing
    }
    # The connection is still good.
    assert (await rest.get(path)).json() == got.json()


@pytest.mark.parametrize("path", ["/v1/operations/a", "/operations/a"])
async def test_head_of_an_error_has_its_status_alone(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str
) -> None:
    for method in (GET, "/yandex.cloud.operation.OperationService/Get"):
        harness.upstream.answers[method] = failing(5, message="Not here.")
    for asked, status in ((path, 404), (path + "?x=1", 400), ("/nothing", 404)):
        response = await rest.head(asked)
        assert (response.status_code, response.content) == (status, b"")
        check_headers(response.headers)
        assert "x-http-status" not in response.headers
    response = await rest.get("/endpoints")
    assert response.status_code == 200


async def test_head_needs_a_token_where_get_does(harness: GatewayHarness) -> None:
    """As an anonymous call it stands in the line of those."""
    async with httpx.AsyncClient(base_url=harness.rest) as anonymous:
        assert (await anonymous.head("/operations/a")).status_code == 200
    assert "authorization" not in harness.upstream.calls[0].metadata


async def test_long_answers_are_compressed_where_asked(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def long(_request: Any, _context: Any) -> Any:
        return harness.upstream.message("google.longrunning.Operation")(name="a" * 5000)

    harness.upstream.answers[GET] = long
    async with rest.stream("GET", "/v1/operations/a", headers=GZIP) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in response.headers["vary"].lower()
    assert len(raw) < 500
    assert b'"name":"' + b"a" * 5000 in gzip.decompress(raw)
    for refused in ("identity", "gzip;q=0", "br"):
        plain = await rest.get("/v1/operations/a", headers={"accept-encoding": refused})
        assert "content-encoding" not in plain.headers
        assert plain.json()["name"] == "a" * 5000
    head = await rest.head("/v1/operations/a", headers=GZIP)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["vary"] == response.headers["vary"]
    harness.upstream.answers[GET] = failing(5, message="b" * 5000)
    error = await rest.get("/v1/operations/a", headers=GZIP)
    assert error.headers["content-encoding"] == "gzip"
    assert error.json()["error"]["message"] == "b" * 5000
    head = await rest.head("/v1/operations/a", headers=GZIP)
    assert (head.status_code, head.headers["vary"]) == (404, error.headers["vary"])


async def test_short_answers_are_not(rest: httpx.AsyncClient) -> None:
    for verb in ("GET", "HEAD"):
        answer = await rest.request(verb, "/operations/a", headers=GZIP)
        assert not {"content-encoding", "vary"} & {*answer.headers}


SECRETS = [
    ("/iam/v1/tokens", "yandex.cloud.iam.v1.IamTokenService/Create", "iam_token"),
    ("/v1/resellers/a/webhooks", "billing.v1.WebhookService/CreateWebhook", "secret"),
    (
        "/v1/resellers/a/webhooks/b:rotateSecret",
        "billing.v1.WebhookService/RotateWebhookSecret",
        "secret",
    ),
]


@pytest.mark.parametrize(("path", "method", "field"), SECRETS)
async def test_secrets_are_never_compressed(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, method: str, field: str
) -> None:
    """Their length beside what a caller sent would tell them, byte by byte."""
    service, _, name = method.partition("/")
    output = harness.upstream.pool.FindServiceByName(service).methods_by_name[name].output_type

    async def secret(_request: Any, _context: Any) -> Any:
        return harness.upstream.message(output.full_name)(**{field: "a" * 5000})

    harness.upstream.answers["/" + method] = secret
    response = await rest.post(path, json={}, headers=GZIP)
    assert response.status_code == 200, response.text
    assert "a" * 5000 in response.text
    assert "content-encoding" not in response.headers


async def test_the_invitations_page_is_never_compressed(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def page(_request: Any, _context: Any) -> Any:
        body = harness.upstream.message("google.api.HttpBody")
        return body(content_type="text/html; charset=utf-8", data=b"a" * 5000)

    harness.upstream.answers["/billing.v1.InvitationPageService/GetInvitationPage"] = page
    response = await rest.get("/invitations/" + "t" * 32, headers=GZIP)
    assert (response.status_code, len(response.content)) == (200, 5000)
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP", "gzip;q=0.5,br", "deflate,gzip; q=1.0"])
async def test_documents_are_compressed(web: httpx.AsyncClient, accepted: str) -> None:
    packed = await web.get("/openapi.json", headers={"accept-encoding": accepted})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["openapi"] == "3.1.0"
    assert packed.headers.get_list("vary", split_commas=True).count("Accept-Encoding") == 1


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip;q=0.000", "br", "xgzip", "identity", "*"])
async def test_documents_are_not_compressed(web: httpx.AsyncClient, accepted: str) -> None:
    answer = await web.get("/openapi.json", headers={"accept-encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.json()["openapi"] == "3.1.0"
    assert "Accept-Encoding" in answer.headers["vary"]


async def test_headers_of_documents_tell_how_long_they_are(web: httpx.AsyncClient) -> None:
    for headers in (GZIP, {"accept-encoding": "identity"}):
        for path in ("/openapi.json", "/docs/swagger-ui-bundle.js"):
            whole = await web.get(path, headers=headers)
            head = await web.head(path, headers=headers)
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-length", "content-encoding", "content-type", "vary"):
                assert head.headers.get(name) == whole.headers.get(name)


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("accepted", "goal"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "/docs"),
        ("*/*", "/openapi.json"),
        ("application/json", "/openapi.json"),
    ],
)
async def test_the_root_leads_to_the_description(
    web: httpx.AsyncClient, verb: str, accepted: str, goal: str
) -> None:
    response = await web.request(verb, "/", headers={"accept": accepted})
    assert (response.status_code, response.headers["location"]) == (302, goal)
    assert "accept" in response.headers["vary"].split(", ")
    assert (await web.get(goal)).status_code == 200


async def test_nothing_else_is_done_at_the_root(web: httpx.AsyncClient) -> None:
    check_refusal(await web.post("/"), 405, 12, "METHOD_NOT_ALLOWED")
    response = await web.get("/?x=1", headers={"accept": "text/html"})
    assert response.headers["location"] == "/docs"


ENUMS = [
    ("json", "PENDING"),
    ("json;enum-encoding=int", 1),
    ("json%3Benum-encoding%3Dint", 1),
]


@pytest.mark.parametrize(("alt", "state"), ENUMS)
@pytest.mark.parametrize("name", ["$alt", "%24alt", "alt"])
async def test_system_parameters_that_are_obeyed(
    harness: GatewayHarness, rest: httpx.AsyncClient, name: str, alt: str, state: str | int
) -> None:
    async def pending(_request: Any, _context: Any) -> Any:
        return harness.upstream.message("billing.v1.ListInvitationsResponse")(
            invitations=[{"state": 1}]
        )

    harness.upstream.answers["/billing.v1.InvitationService/ListInvitations"] = pending
    path = f"/v1/resellers/a/invitations?pageSize=7&{name}={alt}&$prettyPrint=false"
    response = await rest.get(path)
    assert response.status_code == 200, response.text
    assert response.json()["invitations"][0]["state"] == state
    (call,) = harness.upstream.calls
    assert (call.request.parent, call.request.page_size) == ("resellers/a", 7)


async def test_system_parameters_beside_a_body(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    response = await rest.post(
        "/billing/v1/customers:invite?$alt=json;enum-encoding=int", json={"name": "a"}
    )
    assert response.status_code == 200, response.text
    assert harness.upstream.calls[0].request.name == "a"
    head = await rest.head("/v1/resellers/a/invitations?$alt=json;enum-encoding=int")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("$alt=proto", "$alt"),
        ("$alt=", "$alt"),
        ("$prettyPrint=true", "$prettyPrint"),
        ("$fields=name", "$fields"),
        ("$.xgafv=2", "$.xgafv"),
        ("%24key=a", "$key"),
        ("$", "$"),
        ("$alt=json&$alt=json", "$alt"),
        ("alt=json&$alt=json", "$alt"),
        ("alt=media", "alt"),
        ("prettyPrint=true", "prettyPrint"),
        ("fields=name", "fields"),
        ("key=a", "key"),
        ("access_token=a", "access_token"),
        ("oauth_token=a", "oauth_token"),
        ("callback=a", "callback"),
        ("quotaUser=a", "quotaUser"),
        ("uploadType=a", "uploadType"),
        ("upload_protocol=a", "upload_protocol"),
    ],
)
async def test_system_parameters_that_are_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, query: str, name: str
) -> None:
    found = check_refusal(await rest.get(f"/v1/operations/a?{query}"), 400, 3, "FIELDS_INVALID")
    (violation,) = found["BadRequest"]["fieldViolations"]
    assert violation["field"] == name
    assert "There is no such parameter" not in violation["description"]
    assert harness.upstream.calls == []
