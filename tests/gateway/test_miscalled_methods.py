"""Methods called by their own paths, but by none of the protocols."""

import httpx
import pytest

from tests.gateway.conftest import GatewayHarness
from tests.gateway.test_web_protocols import CONNECT, GET, STREAMING, WEB, framed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH"])
@pytest.mark.parametrize("headers", [WEB, CONNECT, {}])
async def test_only_post_is_a_call(
    harness: GatewayHarness, rest: httpx.AsyncClient, verb: str, headers: dict[str, str]
) -> None:
    """Nor is Connect's GET, with its message in the query."""
    path = f"{GET}?connect=v1&encoding=json&message=%7B%22operationId%22%3A%22a%22%7D"
    answer = await rest.request(verb, path, headers=headers, content=framed(b""))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["details"][0]["reason"] == "METHOD_NOT_ALLOWED"
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        (GET, "text/plain"),
        (GET, "application/xml"),
        (GET, "application/connect+proto"),
        (GET, "application/connect+json"),
        (GET, ""),
        (STREAMING[0], "application/proto"),
        (STREAMING[0], "application/json"),
    ],
)
async def test_what_a_method_does_not_read_is_415(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, type_: str
) -> None:
    """As Connect has it of messages that a server does not know."""
    answer = await rest.post(path, headers={"content-type": type_}, content=framed(b"{}"))
    assert (answer.status_code, answer.json()["code"]) == (415, 3)
    assert answer.json()["details"][0]["reason"] == "CONTENT_TYPE_UNSUPPORTED"
    assert "application/connect+proto" in answer.json()["message"]
    assert harness.upstream.calls == []
