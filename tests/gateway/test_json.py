"""The script's idea of JSON against Python's, on texts that are almost right."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = st.sampled_from(["name", "person", "reseller_id", "resellerId", "nme", "\N{SNOWMAN}", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner), max_leaves=8
)
# Bytes that mean something to JSON or to UTF-8, so that an edit is more than noise.
BITS = [
    *b" \t\n{}[]\":,\\/untfals0123456789.eE+-'#",
    0x00,
    0x1F,
    0x7F,
    0x80,
    0xBF,
    0xC3,
    0xED,
    0xFF,
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Returns a JSON text with up to three bytes changed, added or left out."""
    value = draw(st.dictionaries(NAMES, VALUES) | VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1)))
    body = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 1))
        body[at : at + cut] = draw(st.lists(st.sampled_from(BITS), max_size=2))
    return bytes(body)


def is_json_object(body: bytes) -> bool:
    """What Python takes for a JSON object, less what RFC 8259 leaves out of it."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        value = json.loads(body.decode(), parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return isinstance(value, dict)


@settings(
    max_examples=300,
    deadline=None,
    # The shared Envoy keeps nothing between two requests.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=bodies())
@pytest.mark.parametrize("rest", ["h1"], indirect=True)
async def test_bodies_are_taken_for_json_exactly_as_by_python(
    rest: httpx.AsyncClient, body: bytes
) -> None:
    response = await rest.post(
        "/billing/v1/customers:invite", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in {200, 400}, response.text
    answer = response.json()
    refused = response.status_code == 400 and answer["message"].startswith("The body is not ")
    # A body of no bytes is no JSON, and stands for an empty request.
    assert refused is not (is_json_object(body) or not body)
