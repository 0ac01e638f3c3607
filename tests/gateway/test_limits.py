"""What callers without credentials may send and how long connections may say nothing; small limits, in a moment."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from gateway.route_parts import ANONYMOUS_BYTES
from tests.gateway.conftest import MAX_BODY_BYTES, TOKEN, GatewayHarness, running
from tests.gateway.status import check_refusal
from tests.gateway.test_answers import INVITE, hang
from tests.gateway.test_native import unary

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVITE_PATH = "/billing/v1/customers:invite"
OPEN_PATHS = ("/iam/v1/tokens", "/v1/invitations:accept")


@pytest.mark.parametrize("path", [INVITE_PATH, *OPEN_PATHS, "/nothing/there"])
@pytest.mark.parametrize("authorization", [None, "", "Basic abc", "Bearer", "Bearer "])
async def test_a_large_body_needs_what_may_be_a_token(
    harness: GatewayHarness, path: str, authorization: str | None
) -> None:
    headers = {"content-type": "application/json"}
    if authorization is not None:
        headers["authorization"] = authorization
    async with httpx.AsyncClient(base_url=harness.rest, http1=False, http2=True) as client:
        answer = await client.post(path, content=b" " * (ANONYMOUS_BYTES + 1), headers=headers)
    check_refusal(answer, 413, 3, "REQUEST_TOO_LARGE")
    assert harness.upstream.calls == []


@pytest.mark.parametrize("path", OPEN_PATHS)
async def test_what_needs_no_token_is_small_with_one_too(
    harness: GatewayHarness, path: str
) -> None:
    async with httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as client:
        answer = await client.post(path, json={"jwt": "a" * ANONYMOUS_BYTES})
    check_refusal(answer, 413, 3, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("token", [(), tuple(TOKEN.items())])
async def test_a_native_message_over_the_limit_is_refused_with_details(
    harness: GatewayHarness, native: grpc.aio.Channel, token: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(native, INVITE)(bytes(MAX_BODY_BYTES + 1), metadata=token)
    error = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing: Any = dict(iter(error.trailing_metadata()))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, error.details())
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("REQUEST_TOO_LARGE", "billing.example.com")
    assert harness.upstream.calls == []


async def test_the_largest_native_message_passes(
    harness: GatewayHarness, native: grpc.aio.Channel
) -> None:
    largest = b"\x12" + b"\xfb\xff\x03" + b"a" * (MAX_BODY_BYTES - 5)
    await unary(native, INVITE)(largest, metadata=tuple(TOKEN.items()))
    assert len(harness.upstream.calls) == 1


async def test_half_a_message_stays_at_the_gateway(tmp_path: Path) -> None:
    async with (
        running(tmp_path, request_arrival_s=0.3) as harness,
        grpc.aio.insecure_channel(harness.grpc) as native,
    ):
        method: Any = native.stream_unary(INVITE)
        call = method()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert harness.upstream.calls == []


async def test_calls_without_credentials_fill_no_place_of_others(tmp_path: Path) -> None:
    """More than the gateway lets through without credentials hang, or than one address may have; a caller
    with a token is served."""
    async with running(tmp_path) as harness, contextlib.AsyncExitStack() as stack:
        harness.upstream.answers["/yandex.cloud.endpoint.ApiEndpointService/List"] = hang
        hanging = []
        for _ in range(20):
            channel = grpc.aio.insecure_channel(
                harness.grpc, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            await stack.enter_async_context(channel)
            for _ in range(100):
                call = unary(channel, "/yandex.cloud.endpoint.ApiEndpointService/List")(b"")
                hanging.append(asyncio.ensure_future(call))
        done, _ = await asyncio.wait(hanging, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            assert isinstance(error, grpc.aio.AioRpcError)
            refusals = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert error.code() in refusals
        assert done
        async with httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as client:
            assert (await client.get("/operations/a")).status_code == 200
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_idle_connections_make_room_for_newcomers(tmp_path: Path) -> None:
    """Silent ones, over TLS and without, and one that has been served."""
    async with running(tmp_path, max_connections=20) as harness:
        writers = []
        for number in range(30):
            port = (harness.settings.http_port, harness.settings.https_port)[number % 2]
            with contextlib.suppress(OSError):
                writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        async with asyncio.timeout(10):
            while True:
                try:
                    async with httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as client:
                        answer = await client.get("/operations/a")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        assert answer.status_code == 200
        for writer in writers:
            writer.close()
