"""Scripts in a real browser, on pages of an origin that may call and of one that looks like it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.browser import browser
from tests.gateway.conftest import running
from tests.gateway.test_answers import failing
from tests.service import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

GET = "/yandex.cloud.operation.OperationService/Get"
# Each call needs a preflight: by its headers, its content type, or its verb.
CALLS = """
async (gateway) => {
  const headers = {
    authorization: 'Bearer t.o-k',
    'idempotency-key': '6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14',
  };
  const frame = new Uint8Array([0, 0, 0, 0, 3, 10, 1, 97]);
  const post = (type, body) => ({
    method: 'POST',
    headers: { ...headers, 'content-type': type, 'connect-protocol-version': '1', 'x-grpc-web': '1' },
    body,
  });
  const method = gateway + '/yandex.cloud.operation.OperationService/Get';
  const asked = {
    rest: [gateway + '/operations/a', { headers }],
    unknown: [gateway + '/nothing', { headers, method: 'DELETE' }],
    web: [method, post('application/grpc-web+proto', frame)],
    binary: [method, post('application/proto', frame.slice(5))],
    json: [method, post('application/json', '{"operationId": "a"}')],
    stream: [
      gateway + '/billing.v1.EventService/WatchEvents',
      post('application/connect+json', new Uint8Array([0, 0, 0, 0, 2, 123, 125])),
    ],
  };
  const told = {};
  for (const [name, [url, init]] of Object.entries(asked)) {
    try {
      const answer = await fetch(url, init);
      const code = answer.headers.get('grpc-status');
      told[name] = [answer.status, !!answer.headers.get('x-request-id'), code];
    } catch (error) {
      told[name] = error.name;
    }
  }
  return told;
}
"""


@asynccontextmanager
async def pages(port: int) -> AsyncIterator[str]:
    """Serves an empty page at any path; gives its origin. On loopback, as what it calls."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n")
        writer.write(b"Connection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield f"http://127.0.0.1:{port}"


async def told(chromium: Browser, origin: str, gateway: str) -> Any:
    page = await chromium.new_page()
    await page.goto(f"{origin}/")
    return await page.evaluate(CALLS, gateway)


async def test_scripts_of_a_set_origin_alone_call_by_each_protocol(tmp_path: Path) -> None:
    port, other_port = free_ports(2)
    async with (
        pages(port) as origin,
        pages(other_port) as other,
        browser() as chromium,
        running(tmp_path, cors_origins=[origin]) as harness,
    ):
        assert await told(chromium, origin, harness.rest) == {
            "rest": [200, True, None],
            "unknown": [404, True, None],
            "web": [200, True, None],
            "binary": [200, True, None],
            "json": [200, True, None],
            "stream": [200, True, None],
        }
        assert len(harness.upstream.calls) == 5
        harness.upstream.answers[GET] = failing(5)
        failed = await told(chromium, origin, harness.rest)
        # gRPC-Web's clients must see the code, which is a header here.
        assert failed["web"] == [200, True, "5"]
        assert [failed[name][0] for name in ("rest", "binary", "json")] == [404] * 3
        harness.upstream.calls.clear()
        assert set((await told(chromium, other, harness.rest)).values()) == {"TypeError"}
        assert harness.upstream.calls == []
