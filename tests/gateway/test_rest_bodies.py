"""Bodies that REST callers may send, and what they are told about the rest."""

import json
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import MAX_BODY_BYTES, GatewayHarness
from tests.gateway.status import check_headers, check_refusal, violations

pytestmark = pytest.mark.asyncio(loop_scope="session")


INVITE = "/billing/v1/customers:invite"
CUSTOMERS = "/billing/v1/customers"
JSON = {"content-type": "application/json"}
UNKNOWN = "There is no such field."
TWICE = "The field is given twice."
IN_PATH = "The path says what this is."


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


async def test_two_fields_of_a_oneof_are_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
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
