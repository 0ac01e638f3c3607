"""What REST callers may send, and what they are told about the rest."""

import json
from typing import Any, NamedTuple

import httpx
import pytest

from tests.gateway.conftest import MAX_BODY_BYTES, GatewayHarness
from tests.gateway.status import check_headers, check_refusal, violations

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVITE = "/billing/v1/customers:invite"
CUSTOMERS = "/billing/v1/customers"
JSON = {"content-type": "application/json"}
UNKNOWN = "There is no such field."
UNKNOWN_PARAMETER = "There is no such parameter."
IN_PATH = "The path says what this is."
TWICE = "The field is given twice."
OF_INT64 = "It must be from -9223372036854775808 to 9223372036854775807."


class Refused(NamedTuple):
    """A request and the answer to it."""

    verb: str
    path: str
    status: int
    code: int
    reason: str
    content: bytes = b""
    headers: dict[str, str] = JSON


REFUSED = {
    "unknown path": Refused("GET", "/nothing", 404, 5, "METHOD_UNKNOWN"),
    "root": Refused("GET", "/", 404, 5, "METHOD_UNKNOWN"),
    "trailing slash": Refused("GET", "/operations/a/", 404, 5, "METHOD_UNKNOWN"),
    "double slash": Refused("GET", "//operations/a", 404, 5, "METHOD_UNKNOWN"),
    "no id": Refused("GET", "/operations/", 404, 5, "METHOD_UNKNOWN"),
    "no id before a verb": Refused("GET", "/operations/:cancel", 404, 5, "METHOD_UNKNOWN"),
    "unknown verb": Refused("POST", "/operations/a:frob", 404, 5, "METHOD_UNKNOWN"),
    "verb twice": Refused("POST", "/operations/a:cancel:cancel", 404, 5, "METHOD_UNKNOWN"),
    "encoded slash": Refused("GET", "/operations/a%2Fb", 404, 5, "METHOD_UNKNOWN"),
    "encoded slash, lower case": Refused("GET", "/operations/a%2fb", 404, 5, "METHOD_UNKNOWN"),
    "a method's gRPC path": Refused(
        "POST", "/yandex.cloud.billing.v1.CustomerService/Invite", 404, 5, "METHOD_UNKNOWN", b"{}"
    ),
    "a path in another case": Refused("GET", "/Operations/a", 404, 5, "METHOD_UNKNOWN"),
    "wrong method": Refused("PUT", INVITE, 405, 12, "METHOD_NOT_ALLOWED", b"{}"),
    "wrong method, no body": Refused("DELETE", "/operations/a", 405, 12, "METHOD_NOT_ALLOWED"),
    "options": Refused("OPTIONS", INVITE, 405, 12, "METHOD_NOT_ALLOWED"),
    "form": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"name=x"),
        {"content-type": "application/x-www-form-urlencoded"},
    ),
    "text": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"), {"content-type": "text/plain"}
    ),
    "no content type": Refused("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}", {}),
    "other charset": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        {"content-type": "application/json; charset=cp1251"},
    ),
    "other content type with a known beginning": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        {"content-type": "application/jsonx"},
    ),
    "compressed": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        JSON | {"content-encoding": "gzip"},
    ),
    "too large": Refused("POST", INVITE, 413, 3, "REQUEST_TOO_LARGE", b" " * (MAX_BODY_BYTES + 1)),
    "headers too large": Refused(
        "GET", "/operations/a", 431, 3, "HEADERS_TOO_LARGE", b"", {"x-large": "a" * (33 << 10)}
    ),
    "too many headers": Refused(
        *("GET", "/operations/a", 431, 3, "HEADERS_TOO_LARGE", b""),
        {f"x-header-{number}": "a" for number in range(101)},
    ),
    "body where none belongs": Refused("GET", "/operations/a", 400, 3, "REQUEST_MALFORMED", b"{}"),
    "path not UTF-8": Refused("GET", "/operations/%ff", 400, 3, "REQUEST_MALFORMED"),
    "path with half an escape": Refused("GET", "/operations/a%4", 400, 3, "REQUEST_MALFORMED"),
    "overlong UTF-8": Refused("GET", "/operations/%c0%af", 400, 3, "REQUEST_MALFORMED"),
    "surrogate in UTF-8": Refused("GET", "/operations/%ed%a0%80", 400, 3, "REQUEST_MALFORMED"),
    "query name not UTF-8": Refused("GET", f"{CUSTOMERS}?%ff=1", 400, 3, "REQUEST_MALFORMED"),
    "query with half an escape": Refused("GET", f"{CUSTOMERS}?a%=1", 400, 3, "REQUEST_MALFORMED"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_bad_requests_are_refused_in_our_form(
    harness: GatewayHarness, rest: httpx.AsyncClient, case: Refused
) -> None:
    response = await rest.request(
        case.verb, case.path, content=case.content or None, headers=case.headers
    )
    check_refusal(response, case.status, case.code, case.reason)
    assert harness.upstream.calls == []


# What is behind each of these is a body for Invite, and the fields that it is refused for.
WRONG_BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "misspelt": (
        b'{"nme": "x"}',
        {"nme": "There is no such field; did you mean name?"},
    ),
    "misspelt within": (
        b'{"person": {"emial": "x"}}',
        {"person.emial": "There is no such field; did you mean person.email?"},
    ),
    "misspelt in snake case": (
        b'{"reseler_id": "x"}',
        {"reseler_id": "There is no such field; did you mean reseller_id?"},
    ),
    "in the wrong place": (
        b'{"legalAddress": "x"}',
        {"legalAddress": "There is no such field; did you mean person.legalAddress?"},
    ),
    "unlike anything": (b'{"colour": "x"}', {"colour": UNKNOWN}),
    "wrong case": (b'{"Name": "x"}', {"Name": "There is no such field; did you mean name?"}),
    "empty name": (b'{"": "x"}', {"": UNKNOWN}),
    "name in escapes": (b'{"\\u0043\\ud83d\\ude00": 1}', {"C\N{GRINNING FACE}": UNKNOWN}),
    "all at once": (
        b'{"colour": 1, "person": {"size": {"a": [1]}, "tin": 5}, "name": ["x"]}',
        {
            "colour": UNKNOWN,
            "person.size": UNKNOWN,
            "person.tin": "It must be a string.",
            "name": "It must be a string.",
        },
    ),
    "twice": (b'{"name": "x", "name": "y"}', {"name": TWICE}),
    "twice, in both spellings": (
        b'{"resellerId": "x", "reseller_id": "y"}',
        {"reseller_id": TWICE},
    ),
    "twice, in escapes": (b'{"name": "x", "\\u006eame": "y"}', {"name": TWICE}),
    "twice within": (b'{"person": {"tin": "1", "tin": null}}', {"person.tin": TWICE}),
    "number for text": (b'{"name": 5}', {"name": "It must be a string."}),
    "truth for text": (b'{"name": true}', {"name": "It must be a string."}),
    "object for text": (b'{"name": {}}', {"name": "It must be a string."}),
    "text for object": (b'{"person": "x"}', {"person": "It must be an object."}),
    "list for object": (b'{"person": [{}]}', {"person": "It must be an object."}),
}


@pytest.mark.parametrize(("body", "wrong"), WRONG_BODIES.values(), ids=WRONG_BODIES)
async def test_wrong_fields_are_named_with_a_hint(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: bytes, wrong: dict[str, str]
) -> None:
    response = await rest.post(INVITE, content=body, headers=JSON)
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == wrong
    assert harness.upstream.calls == []


async def test_only_one_of_a_oneof(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    body = {"jwt": "a", "yandexPassportOauthToken": "b"}
    response = await rest.post("/iam/v1/tokens", json=body)
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == {
        "yandexPassportOauthToken": "Only one of this and jwt can be set."
    }
    assert (await rest.post("/iam/v1/tokens", json=body | {"jwt": None})).status_code == 200


async def test_the_path_wins_over_the_body(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    response = await rest.post(f"{CUSTOMERS}/a:activate", json={"customer_id": "b"})
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == {"customer_id": IN_PATH}
    assert harness.upstream.calls == []


NOT_JSON = {
    "nothing but space": b"  ",
    "text": b"hello",
    "a list": b"[{}]",
    "a string": b'"name"',
    "a number": b"5",
    "null": b"null",
    "trailing comma": b'{"name": "x",}',
    "trailing comma in a list": b'{"a": [1,]}',
    "leading comma": b'{,"name": "x"}',
    "single quotes": b"{'name': 'x'}",
    "name without quotes": b'{name: "x"}',
    "comment": b'{/* hello */"name": "x"}',
    "line comment": b'{"name": "x"} // hello',
    "trailing text": b'{"name": "x"} x',
    "two values": b"{}{}",
    "not closed": b'{"name": "x"',
    "string not closed": b'{"name": "x',
    "no colon": b'{"name" "x"}',
    "no value": b'{"name":}',
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": -Infinity}',
    "True": b'{"name": True}',
    "undefined": b'{"name": undefined}',
    "nul": b'{"name": nul}',
    "leading zero": b'{"name": 01}',
    "leading plus": b'{"name": +1}',
    "bare fraction": b'{"name": .5}',
    "no fraction": b'{"name": 1.}',
    "no exponent": b'{"name": 1e}',
    "hexadecimal": b'{"name": 0x1}',
    "control character": b'{"name": "a\x01b"}',
    "line end in a string": b'{"name": "a\nb"}',
    "NUL": b'{"name": "a\x00b"}',
    "unknown escape": b'{"name": "\\x41"}',
    "short escape": b'{"name": "\\u12"}',
    "half a surrogate pair": b'{"name": "\\ud800"}',
    "the other half": b'{"name": "\\udc00"}',
    "surrogates in the wrong order": b'{"name": "\\ud800\\u0041"}',
    "not UTF-8": b'{"name": "\xff"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "UTF-8 cut short": b'{"name": "\xe2\x82"}',
    "UTF-8 cut by the end": b'{"name": "\xf0\x9f\x98',
    "byte order mark": b'\xef\xbb\xbf{"name": "x"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "nested too deep": b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}",
    "nested without end": b"[" * 60_000,
    "objects without end": b'{"person":' * 6_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_no_json_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: bytes
) -> None:
    response = await rest.post(INVITE, content=body, headers=JSON)
    check_refusal(response, 400, 3, "REQUEST_MALFORMED")
    assert response.json()["message"].startswith("The body is not ")
    assert harness.upstream.calls == []


TAKEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "nothing": (b"", {}),
    "empty object": (b" {\r\n\t} ", {}),
    "both spellings": (
        b'{"resellerId": "r", "invitation_email": "e"}',
        {"reseller_id": "r", "invitation_email": "e"},
    ),
    "null is unset": (b'{"name": null, "person": null}', {}),
    "escapes": (
        b'{"na\\u006de": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00"}',
        {"name": '"\\/\b\f\n\r\t\N{LATIN SMALL LETTER E WITH ACUTE}\N{GRINNING FACE}'},
    ),
    "any script": (
        '{"name": "ООО «Ромашка» 株式会社 😀 \x7f"}'.encode(),
        {"name": "ООО «Ромашка» 株式会社 😀 \x7f"},
    ),
}


@pytest.mark.parametrize(("body", "arrives"), TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_bodies_of_any_spelling_reach_the_server(
    harness: GatewayHarness,
    rest: httpx.AsyncClient,
    body: bytes,
    arrives: dict[str, str],
    content_type: str,
) -> None:
    response = await rest.post(INVITE, content=body, headers={"content-type": content_type})
    assert response.status_code == 200, response.text
    check_headers(response.headers)
    assert response.headers["x-operation-poll-interval"] == "1"
    (call,) = harness.upstream.calls
    message = harness.upstream.message("yandex.cloud.billing.v1.InviteCustomerRequest")
    assert call.request == message(**arrives)


async def test_the_largest_body_reaches_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    name = "я" * ((MAX_BODY_BYTES - 20) // 2)
    body = json.dumps({"name": name}, ensure_ascii=False).encode()
    assert (await rest.post(INVITE, content=body, headers=JSON)).status_code == 200
    assert harness.upstream.calls[0].request.name == name


QUERIES: dict[str, tuple[str, dict[str, str]]] = {
    "path variable": ("/operations/a?operation_id=b", {"operation_id": IN_PATH}),
    "path variable, camel case": ("/operations/a?operationId=b", {"operationId": IN_PATH}),
    "path variable, encoded": ("/operations/a?operation%5Fid=b", {"operation_id": IN_PATH}),
    "path variable, all encoded": (
        "/operations/a?%6f%70%65%72%61%74%69%6f%6e%5f%69%64=b",
        {"operation_id": IN_PATH},
    ),
    "path variable of a pattern": ("/v1/operations/a?name=operations/b", {"name": IN_PATH}),
    "path variable that is fixed": ("/v1/operations?name=x", {"name": IN_PATH}),
    "encoded twice": ("/operations/a?operation%255Fid=b", {"operation%5Fid": UNKNOWN_PARAMETER}),
    "unknown": ("/operations/a?colour=red", {"colour": UNKNOWN_PARAMETER}),
    "misspelt": (
        f"{CUSTOMERS}?page_sze=1",
        {"page_sze": "There is no such parameter; did you mean page_size?"},
    ),
    "several": (
        f"{CUSTOMERS}?page_size=x&colour=%D1%8F&pageToken=%ff",
        {
            "resellerId": "Required.",
            "page_size": "It must be a whole number.",
            "colour": UNKNOWN_PARAMETER,
            "pageToken": "It is not percent-encoded UTF-8.",
        },
    ),
    "twice": (
        f"{CUSTOMERS}?pageSize=1&page_size=2",
        {"page_size": "The parameter is given twice."},
    ),
    "beneath a text": (f"{CUSTOMERS}?resellerId.x=1", {"resellerId.x": UNKNOWN_PARAMETER}),
    "no name": (f"{CUSTOMERS}?=1", {"": UNKNOWN_PARAMETER}),
    "without value": (
        f"{CUSTOMERS}?resellerId=r&pageSize",
        {"pageSize": "It must be a whole number."},
    ),
    "a number out of range, beside what is missing and too long": (
        f"{CUSTOMERS}?pageSize=1e30&pageToken={'x' * 101}",
        {
            "pageSize": "It must be a whole number.",
            "resellerId": "Required.",
            "pageToken": "Must be <=100 characters long.",
        },
    ),
    "numbers out of range, beside others": (
        f"{CUSTOMERS}?resellerId=r&pageSize=99999999999999999999&colour=red",
        {"pageSize": OF_INT64, "colour": UNKNOWN_PARAMETER},
    ),
    "below the least": (
        f"{CUSTOMERS}?resellerId=r&pageSize=-9223372036854775809",
        {"pageSize": OF_INT64},
    ),
    "of 32 bits": (
        "/v1/operations?pageSize=2147483648",
        {"pageSize": "It must be from -2147483648 to 2147483647."},
    ),
    "of thousands of digits": (
        f"{CUSTOMERS}?resellerId=r&pageSize={'9' * 5000}",
        {"pageSize": OF_INT64},
    ),
    "power": (
        f"{CUSTOMERS}?resellerId=r&pageSize=1e30",
        {"pageSize": "It must be a whole number."},
    ),
    "fraction": (
        f"{CUSTOMERS}?resellerId=r&pageSize=1.5",
        {"pageSize": "It must be a whole number."},
    ),
    "hexadecimal": (
        f"{CUSTOMERS}?resellerId=r&pageSize=0x10",
        {"pageSize": "It must be a whole number."},
    ),
    "infinity": (
        f"{CUSTOMERS}?resellerId=r&pageSize=Infinity",
        {"pageSize": "It must be a whole number."},
    ),
    "half true": (
        "/v1/operations?returnPartialSuccess=trle",
        {"returnPartialSuccess": "It must be true or false."},
    ),
    "system parameter": (f"{CUSTOMERS}?$alt=json", {"$alt": UNKNOWN_PARAMETER}),
}


@pytest.mark.parametrize(("path", "wrong"), QUERIES.values(), ids=QUERIES)
async def test_wrong_queries_are_refused_by_name(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, wrong: dict[str, str]
) -> None:
    response = await rest.get(path)
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == wrong
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{INVITE}?name=x", "name"),
        (f"{INVITE}?person.email=x", "person.email"),
        (f"{INVITE}?person%2Eemail=x", "person.email"),
        ("/operations/a:cancel?operationId=b", "operationId"),
        (f"{CUSTOMERS}/a:activate?customer_id=b", "customer_id"),
    ],
)
async def test_no_query_beside_a_body(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, name: str
) -> None:
    response = await rest.post(path, json={})
    assert list(violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))) == [name]
    assert harness.upstream.calls == []


@pytest.mark.parametrize("size", [2**63 - 1, -(2**63), "007", "-0", "0" * 500])
async def test_numbers_that_fit_reach_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient, size: int | str
) -> None:
    response = await rest.get(f"{CUSTOMERS}?pageSize={size}")
    assert response.status_code == 200, response.text
    assert harness.upstream.calls[0].request.page_size == int(size)


async def test_a_query_is_decoded(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    response = await rest.get(f"{CUSTOMERS}?resellerId=%D1%8F+b%2Bc&page%5Fsize=5&pageToken=&&")
    assert response.status_code == 200, response.text
    request = harness.upstream.calls[0].request
    assert (request.reseller_id, request.page_size, request.page_token) == ("я b+c", 5, "")


@pytest.mark.parametrize(
    ("path", "method", "field", "value"),
    [
        ("/operations/x%3Acancel", "OperationService/Get", "operation_id", "x:cancel"),
        ("/operations/%D1%8F%20+", "OperationService/Get", "operation_id", "я +"),
        ("/operations/x:cancel", "OperationService/Cancel", "operation_id", "x"),
        ("/v1/operations/a/b", "Operations/GetOperation", "name", "operations/a/b"),
        ("/v1/operations", "Operations/ListOperations", "name", "operations"),
        ("/endpoints/iam", "ApiEndpointService/Get", "api_endpoint_id", "iam"),
    ],
)
async def test_path_variables_are_decoded(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, method: str, field: str, value: str
) -> None:
    assert (await rest.get(path)).status_code == 200
    (call,) = harness.upstream.calls
    assert call.method.endswith(f".{method}")
    assert getattr(call.request, field) == value


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_cancel_by_either_verb(
    harness: GatewayHarness, rest: httpx.AsyncClient, verb: str
) -> None:
    assert (await rest.request(verb, "/operations/a:cancel")).status_code == 200
    assert harness.upstream.calls[0].request.operation_id == "a"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (INVITE, "POST"),
        ("/operations/a", "GET"),
        ("/operations/a:cancel", "GET, POST"),
        ("/v1/operations/a", "DELETE, GET"),
        ("/docs", "GET, HEAD"),
    ],
)
async def test_other_verbs_are_told_which_are_allowed(
    rest: httpx.AsyncClient, path: str, allowed: str
) -> None:
    response = await rest.patch(path)
    check_refusal(response, 405, 12, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allowed


async def test_head_has_no_body(rest: httpx.AsyncClient) -> None:
    response = await rest.head("/operations/a")
    assert response.status_code == 405
    assert response.content == b""
    check_headers(response.headers)


async def test_headers_that_could_steer(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    """gRPC's and Envoy's own headers stop at the gateway; the contract's go through unchanged."""
    sent = {
        "authorization": "Bearer t.o-k",
        "idempotency-key": "6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-client-request-id": "mine",
        "accept-language": "ru",
    }
    response = await rest.post(
        INVITE,
        json={},
        headers=sent
        | {
            "x-request-id": "own-id.1",
            "grpc-timeout": "nonsense",
            "grpc-encoding": "no-compression-that-there-is",
            "grpc-status": "5",
            "trace-bin": "!!!",
            "x-envoy-upstream-rq-timeout-ms": "1",
            "x-envoy-original-path": "/operations/x",
            "x-forwarded-host": "elsewhere",
            "x-forwarded-for": "192.0.2.1",
            "cookie": "a=b",
        },
    )
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == "own-id.1"
    (call,) = harness.upstream.calls
    # By the path the server knows REST, by the address whom to count calls without identity for.
    assert call.metadata == sent | {
        "x-request-id": "own-id.1",
        "x-envoy-original-path": INVITE,
        "x-forwarded-for": "127.0.0.1",
    }
    assert call.remaining_s is not None
    assert 0 < call.remaining_s <= harness.settings.timeout_s + 1


@pytest.mark.parametrize("wild", ['"<script>', "a b", "x" * 129, ""])
async def test_wild_request_ids_are_replaced(
    harness: GatewayHarness, rest: httpx.AsyncClient, wild: str
) -> None:
    response = await rest.get("/operations/a", headers={"x-request-id": wild})
    assert response.headers["x-request-id"] not in {wild, ""}
    assert harness.upstream.calls[0].metadata["x-request-id"] == response.headers["x-request-id"]


async def test_what_envoy_refuses_unseen_has_a_request_id(rest: httpx.AsyncClient) -> None:
    response = await rest.request("QUERY", "/operations/a", headers={"x-request-id": ""})
    check_refusal(response, 400, 3, "REQUEST_MALFORMED")
