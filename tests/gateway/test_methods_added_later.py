"""Methods that are added later need no new code: everything is made from the descriptor set."""

import importlib.metadata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from google.protobuf.json_format import Parse
from grpc_tools import protoc  # type: ignore[import-untyped]

from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.status import bare_status, check_refusal, violations
from tests.gateway.upstream import Context

pytestmark = pytest.mark.asyncio(loop_scope="session")

JSON = {"content-type": "application/json"}
IN_PATH = "The path says what this is."
IN_BODY = "It belongs in the body."


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def added_later_harness(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[GatewayHarness]:
    folder = tmp_path_factory.mktemp("later")
    descriptors = folder / "descriptors.pb"
    packages = importlib.metadata.distribution("googleapis-common-protos").locate_file("")
    well_known = importlib.metadata.distribution("grpcio-tools").locate_file("grpc_tools/_proto")
    includes = [f"-I{path}" for path in (Path(__file__).parent, packages, well_known)]
    outcome = protoc.main(
        [
            *("protoc", *includes, f"--descriptor_set_out={descriptors}", "--include_imports"),
            *("added_later.proto", "google/rpc/error_details.proto"),
        ]
    )
    assert outcome == 0
    async with running(folder / "var", descriptors=descriptors) as harness:
        yield harness


@pytest.fixture
def harness(added_later_harness: GatewayHarness) -> GatewayHarness:
    added_later_harness.upstream.forget()
    return added_later_harness


TAKEN = [
    '{"text": "a", "data": "AQI=", "truth": true, "small": -5, "large": "18446744073709551615"}',
    '{"real": 1.5e-3, "colour": "RED"}',
    '{"real": "NaN", "colour": 1, "small": "5"}',
    '{"thing": {"name": "a", "part": {"part": {"size": 5}}}}',
    '{"texts": ["a", "b"], "things": [{"name": "a"}, {}]}',
    '{"counts": {"a": 1, "b": "2"}, "named": {"person.email": {"size": 1}}}',
    '{"struct": {"a": [1, null, {"b": true}]}, "list": [1, "a", {}, []]}',
    '{"value": 5}',
    '{"value": [{"a": "b"}]}',
    '{"at": "2026-01-02T03:04:05Z", "lasts": "1.5s", "mask": "text,thing.name"}',
    '{"at": "2024-02-29T23:59:59.123456789+03:00", "lasts": "-315576000000s"}',
    '{"at": "2000-02-29T00:00:00.5-11:30", "lasts": "0.000000001s"}',
    '{"at": "9999-12-31T23:58:59-00:01"}',
    '{"at": "9999-12-31T23:59:59+23:59"}',
    '{"at": "0001-01-01T00:01:00+00:01"}',
    '{"at": "0001-01-01T00:00:00-23:59"}',
    '{"at": "2026\\u002d01-02T03:04:05Z", "small": "\\u0035", "colour": "R\\u0045D"}',
    '{"wrapped": "5", "maybe": "", "strange-name": "a"}',
    '{"odd_name": "a"}',
    '{"any": {"@type": "type.googleapis.com/later.v1.Thing", "name": "a"}}',
]


@pytest.mark.parametrize("body", TAKEN)
async def test_bodies_of_every_shape_reach_the_server_whole(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: str
) -> None:
    response = await rest.post("/v1/things", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    expected = Parse(
        body,
        harness.upstream.message("later.v1.Everything")(),
        descriptor_pool=harness.upstream.pool,
    )
    assert str(harness.upstream.calls[0].request) == str(expected)


OF_INT32 = "It must be from -2147483648 to 2147483647."
REFUSED = [
    ('{"thing": {"part": {"nmae": 1}}}', "thing.part.nmae", "did you mean thing.part.name?"),
    ('{"things": [{}, {"colour": 1}]}', "things[1].colour", "There is no such field."),
    ('{"things": {}}', "things", "It must be an array."),
    ('{"things": [5]}', "things[0]", "It must be an object."),
    ('{"texts": ["a", null]}', "texts[1]", "An element can't be null."),
    ('{"texts": "a"}', "texts", "It must be an array."),
    ('{"named": {"x": {"colour": 1}}}', "named.x.colour", "There is no such field."),
    ('{"named": [{}]}', "named", "It must be an object."),
    ('{"counts": {"a": true}}', "counts.a", "It must be a whole number."),
    ('{"counts": {"a": 1, "a": 2}}', "counts.a", "The field is given twice."),
    ('{"struct": {"a": 1, "a": 2}}', "struct.a", "The field is given twice."),
    ('{"struct": []}', "struct", "It must be an object."),
    ('{"list": {}}', "list", "It must be an array."),
    ('{"truth": "yes"}', "truth", "It must be true or false."),
    ('{"small": {}}', "small", "It must be a whole number."),
    ('{"real": []}', "real", "It must be a number."),
    ('{"colour": true}', "colour", "It must be the name of a value."),
    ('{"at": {"seconds": 5}}', "at", "It must be a string."),
    ('{"at": "yesterday"}', "at", "It must be a time such as"),
    ('{"at": "2026-01-02"}', "at", "It must be a time such as"),
    ('{"at": "2026-01-02T03:04:05"}', "at", "It must be a time such as"),
    ('{"at": "2026-01-02T03:04:05.Z"}', "at", "It must be a time such as"),
    ('{"at": "2026-01-02T03:04:05.0123456789Z"}', "at", "It must be a time such as"),
    ('{"at": "2026-13-02T03:04:05Z"}', "at", "There is no such time."),
    ('{"at": "2026-02-29T03:04:05Z"}', "at", "There is no such time."),
    ('{"at": "1900-02-29T03:04:05Z"}', "at", "There is no such time."),
    ('{"at": "2026-04-31T03:04:05Z"}', "at", "There is no such time."),
    ('{"at": "2026-01-02T24:00:00Z"}', "at", "There is no such time."),
    ('{"at": "0000-01-02T03:04:05Z"}', "at", "There is no such time."),
    ('{"at": "2026-01-02T03:04:05+24:00"}', "at", "There is no such time."),
    ('{"at": "2026-01-02T03:04:05-12:60"}', "at", "There is no such time."),
    ('{"at": "9999-12-31T23:59:59-00:01"}', "at", "There is no such time."),
    ('{"at": "0001-01-01T00:00:59+00:01"}', "at", "There is no such time."),
    ('{"lasts": "long"}', "lasts", "It must be a number of seconds"),
    ('{"lasts": 5}', "lasts", "It must be a string."),
    ('{"lasts": "5"}', "lasts", "It must be a number of seconds"),
    ('{"lasts": "5.s"}', "lasts", "It must be a number of seconds"),
    ('{"lasts": "1.0000000001s"}', "lasts", "It must be a number of seconds"),
    ('{"lasts": "315576000001s"}', "lasts", "It must be from -315576000000s to 315576000000s."),
    ('{"lasts": "%ss"}' % ("9" * 400), "lasts", "It must be from -315576000000s to"),
    ('{"wrapped": {"value": 5}}', "wrapped", "It must be a whole number."),
    ('{"small": 3000000000}', "small", OF_INT32),
    ('{"small": "-2147483649"}', "small", OF_INT32),
    ('{"small": "x"}', "small", "It must be a whole number."),
    ('{"small": 1.5}', "small", "It must be a whole number."),
    ('{"small": 15e-1}', "small", "It must be a whole number."),
    ('{"small": 1e30}', "small", OF_INT32),
    ('{"small": 1e400}', "small", OF_INT32),
    ('{"small": ""}', "small", "It must be a whole number."),
    ('{"counts": {"a": 9223372036854775808}}', "counts.a", OF_INT32),
    ('{"wrapped": "99999999999999999999"}', "wrapped", "It must be from "),
    ('{"real": 1e400}', "real", "It must be a number that a double can hold."),
    ('{"real": "x"}', "real", "It must be a number."),
    ('{"colour": "GREEN"}', "colour", "There is no such value."),
    ('{"colour": 99999999999}', "colour", OF_INT32),
    ('{"colour": 0.5}', "colour", "It must be a whole number."),
    ('{"oddName": "a"}', "oddName", "did you mean odd_name?"),
]


@pytest.mark.parametrize(("body", "field", "why"), REFUSED)
async def test_bodies_of_wrong_shape_are_refused_by_field(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: str, field: str, why: str
) -> None:
    response = await rest.post("/v1/things", content=body, headers=JSON)
    wrong = violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))
    assert list(wrong) == [field]
    assert why in wrong[field]
    assert harness.upstream.calls == []


# Only the transcoder knows what these should look like; it says so in its own words.
@pytest.mark.parametrize(
    "body",
    [
        '{"data": "?"}',
        '{"any": {"@type": "type.googleapis.com/some.Other"}}',
        '{"any": {"name": "a"}}',
    ],
)
async def test_values_out_of_range_are_refused_by_field(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: str
) -> None:
    response = await rest.post("/v1/things", content=body, headers=JSON)
    check_refusal(response, 400, 3, "REQUEST_MALFORMED")
    assert bare_status(response)["message"] != "The request is not valid HTTP."
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("path", "name", "why"),
    [
        ("/v1/things/a?thing.name=things/b", "thing.name", IN_PATH),
        ("/v1/things/a?thing%2Ename=things/b", "thing.name", IN_PATH),
        ("/v1/things/a?thing.size=5", "thing.size", IN_BODY),
        ("/v1/things/a?thing.part.size=5", "thing.part.size", IN_BODY),
        ("/v1/things/a?thing=5", "thing", IN_BODY),
        ("/v1/things/a?chekc=true", "chekc", "There is no such parameter; did you mean check?"),
        ("/v1/things/a?check=yes", "check", "It must be true or false."),
    ],
)
async def test_queries_beside_a_body_that_is_a_field_are_checked(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, name: str, why: str
) -> None:
    response = await rest.patch(path, json={"size": 1})
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == {name: why}
    assert harness.upstream.calls == []


async def test_a_body_that_is_a_field_and_a_query_reach_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    response = await rest.patch("/v1/things/a?check=true&updateMask=size", json={"size": 1})
    assert response.status_code == 200, response.text
    request = harness.upstream.calls[0].request
    assert (request.thing.name, request.thing.size, request.check) == ("things/a", 1, True)
    assert list(request.update_mask.paths) == ["size"]


@pytest.mark.parametrize(
    "body",
    ['{"name": "things/a", "size": 1}', '{"na\\u006de": "things\\/\\u0061"}', '{"name": null}'],
)
async def test_a_body_may_say_again_what_the_path_does(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: str
) -> None:
    response = await rest.patch("/v1/things/%61", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    assert harness.upstream.calls[0].request.thing.name == "things/a"


@pytest.mark.parametrize(
    "body",
    ['{"name": "things/b"}', '{"name": ""}', '{"name": "things/a "}', '{"name": "things\\u002fb"}'],
)
async def test_a_body_can_t_say_something_else_than_the_path(
    harness: GatewayHarness, rest: httpx.AsyncClient, body: str
) -> None:
    response = await rest.patch("/v1/things/a", content=body, headers=JSON)
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == {
        "name": "It must be what the path says, or be left out."
    }
    assert harness.upstream.calls == []


async def test_a_body_that_is_a_list_is_checked_and_reaches_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    assert (await rest.post("/v1/things/a:rename", json=["b", "c"])).status_code == 200
    assert list(harness.upstream.calls[0].request.names) == ["b", "c"]
    others: list[Any] = [{}, "b", None]
    for body in others:
        response = await rest.post("/v1/things/a:rename", json=body)
        assert response.status_code == 400
    response = await rest.post("/v1/things/a:rename", json=["b", 5])
    assert list(violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))) == ["[1]"]


@pytest.mark.parametrize(
    ("query", "name", "why"),
    [
        ("like=a", "like", "It can't be written in a query."),
        ("labels=a", "labels", "It can't be written in a query."),
        ("like.part.nmae=a", "like.part.nmae", "did you mean like.part.name?"),
        ("by=a&anyOrder=true", "anyOrder", "Only one of this and by can be set."),
        ("like.size=1&like.size=2", "like.size", "The parameter is given twice."),
    ],
)
async def test_wrong_queries_are_refused_by_field(
    harness: GatewayHarness, rest: httpx.AsyncClient, query: str, name: str, why: str
) -> None:
    response = await rest.get(f"/v1/things:search?{query}")
    wrong = violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))
    assert list(wrong) == [name]
    assert wrong[name].endswith(why)
    assert harness.upstream.calls == []


async def test_a_query_fills_nested_and_repeated_fields(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    query = "words=a&words=b&like.part.size=5&any_order=true"
    response = await rest.get(f"/v1/things:search?{query}")
    assert response.status_code == 200, response.text
    request = harness.upstream.calls[0].request
    assert (list(request.words), request.like.part.size) == (["a", "b"], 5)
    assert request.any_order


async def test_pages_and_forms_pass_as_they_are(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """google.api.HttpBody: any content type goes in, and comes out with the servicer's headers."""

    async def page(_request: Any, context: Context) -> Any:
        await context.send_initial_metadata((("cache-control", "no-store"),))
        body = harness.upstream.message("google.api.HttpBody")
        return body(content_type="text/html; charset=utf-8", data="<p>Привет".encode())

    harness.upstream.answers = {
        f"/later.v1.Things/{name}": page for name in ("ShowPage", "SendForm")
    }
    for response in (
        await rest.get("/pages/t"),
        await rest.post("/pages/t", data={"answer": "yes"}),
        await rest.post("/pages/t"),
    ):
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.text == "<p>Привет"
    form = harness.upstream.calls[1].request
    assert (form.token, form.form.data) == ("t", b"answer=yes")
    assert form.form.content_type == "application/x-www-form-urlencoded"
    response = await rest.post("/pages/t?form.data=x", data={"answer": "yes"})
    assert list(violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))) == ["form.data"]


async def test_a_page_names_its_own_status(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def elsewhere(_request: Any, context: Context) -> Any:
        await context.send_initial_metadata((("x-http-status", "303"), ("location", "?")))
        return harness.upstream.message("google.api.HttpBody")(content_type="text/html")

    harness.upstream.answers["/later.v1.Things/SendForm"] = elsewhere
    response = await rest.post("/pages/t", data={"answer": "yes"})
    assert (response.status_code, response.headers["location"]) == (303, "?")
    assert "x-http-status" not in response.headers
