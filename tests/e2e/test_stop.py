"""`make run` that is stopped while streams are open: each of them is told why it ends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from billing.v1 import event_service_pb2, event_service_pb2_grpc
from google.rpc import status_pb2

from tests.e2e.test_event_streams import SERVER_SENT, connect_frame, url
from tests.gateway.test_web_protocols import frames, trailers
from tests.service import Service, running

WATCH = "/billing.v1.EventService/WatchEvents"


def asked(service: Service) -> event_service_pb2.WatchEventsRequest:
    return event_service_pb2.WatchEventsRequest(
        parent=f"resellers/{service.resellerId}", after="latest"
    )


class Stream:
    """A stream over HTTP that has begun."""

    def __init__(self, parts: AsyncIterator[bytes], begun: bytes) -> None:
        self._parts = parts
        self._begun = begun

    async def whole(self) -> bytes:
        """Returns what came until its end; raises where it is cut off."""
        return self._begun + b"".join([part async for part in self._parts])


async def opened(
    client: httpx.AsyncClient, verb: str, path: str, headers: dict[str, str], content: bytes = b""
) -> Stream:
    request = client.build_request(verb, path, headers=headers, content=content)
    answer = await client.send(request, stream=True)
    assert answer.status_code == 200
    parts = answer.aiter_raw()
    return Stream(parts, await anext(parts))


def last_line(body: bytes) -> Any:
    return json.loads(body.splitlines()[-1])["error"]


def last_event(body: bytes) -> Any:
    name, data = body.decode().strip().split("\n\n")[-1].splitlines()
    assert name == "event: error"
    return json.loads(data.removeprefix("data: "))["error"]


def last_frame(body: bytes) -> Any:
    flag, end = frames(body)[-1]
    assert flag == 2
    return json.loads(end)["error"]


@pytest.mark.parametrize(("workers", "h2"), [(1, True), (2, False)])
async def test_streams_end_with_what_tells_of_it(tmp_path: Path, workers: int, h2: bool) -> None:
    with running(tmp_path / "var", workers=workers) as service:
        headers = {**service.headers, "connect-protocol-version": "1"}
        message = asked(service).SerializeToString()
        framed = len(message).to_bytes(5, "big") + message
        in_json = connect_frame({"parent": f"resellers/{service.resellerId}", "after": "latest"})
        path = f"{url(service).removeprefix(service.rest)}?after=latest"
        async with (
            httpx.AsyncClient(
                base_url=service.rest, headers=headers, timeout=60, http1=not h2, http2=h2
            ) as client,
            grpc.aio.insecure_channel(service.rest.removeprefix("http://")) as channel,
        ):
            lines = await opened(client, "GET", path, {})
            events = await opened(client, "GET", path, SERVER_SENT)
            json_frames, binary, web = [
                await opened(client, "POST", WATCH, {"content-type": kind}, content)
                for kind, content in (
                    ("application/connect+json", in_json),
                    ("application/connect+proto", framed),
                    ("application/grpc-web+proto", framed),
                )
            ]
            stub = event_service_pb2_grpc.EventServiceStub(channel)
            native = stub.WatchEvents(asked(service), metadata=service.metadata)
            await native.read()
            ended = asyncio.create_task(asyncio.to_thread(service.stop))
            for error in (last_line(await lines.whole()), last_event(await events.whole())):
                assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
                assert error["details"][0]["reason"] == "SERVER_STOPPING"
            for stream in (json_frames, binary):
                error = last_frame(await stream.whole())
                assert error["code"] == "unavailable"
                assert error["details"][0]["type"] == "google.rpc.ErrorInfo"
            told = trailers(frames(await web.whole())[-1])
            assert told["grpc-status"] == "14"
            packed = told["grpc-status-details-bin"]
            status = status_pb2.Status.FromString(base64.b64decode(packed + "=="))
            assert "open the stream again" in status.message
            with pytest.raises(grpc.aio.AioRpcError) as cut:
                await native.read()
            assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "open the stream again" in (cut.value.details() or "")
            assert await ended == 0
