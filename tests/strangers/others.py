"""Ordinary callers, who must notice nothing: each calls again and again, at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc
from yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc

from tests.service import Service

_PERIOD_S = 0.1
# A newcomer whose connection is refused tries again after this.
_AGAIN_S = 0.1
_GIVE_UP_S = 30.0

Send = Callable[[], Awaitable[str]]


@dataclass
class Noticed:
    """What the others noticed in one phase: answers, what was wrong with some, the slowest ones."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    slowest_newcomer_s: float = 0.0


class Others:
    """Owners of the reseller, invitees, and newcomers on connections of their own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.noticed = Noticed()

    def next_phase(self) -> Noticed:
        """Begins to note anew; returns what was noticed until now."""
        before, self.noticed = self.noticed, Noticed()
        return before

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """Calls until the block ends; those who still wait then are waited for."""
        made = await asyncio.to_thread(self._service.invite)
        over = asyncio.Event()
        async with (
            httpx.AsyncClient(
                base_url=self._service.rest, headers=self._service.headers, timeout=_GIVE_UP_S
            ) as rest,
            grpc.aio.insecure_channel(self._service.rest.removeprefix("http://")) as channel,
        ):
            sends: dict[str, tuple[Send, float]] = {
                "REST Get": (lambda: _rest(rest, f"/operations/{made['id']}"), 1),
                "REST List": (lambda: _rest(rest, self._list), 2),
                "REST Invite": (lambda: self._invite(rest), 5),
                "addresses": (lambda: _rest(rest, "/endpoints"), 2),
                "page": (lambda: _rest(rest, "/invitations/leads-nowhere", 404), 30),
                "native Get": (lambda: self._native_get(channel, made["id"]), 1),
                "native List": (lambda: self._native_list(channel), 2),
                "native Wait": (lambda: self._native_wait(channel, made["id"]), 3),
            }
            tasks = [
                asyncio.create_task(self._repeat(name, send, periods * _PERIOD_S, over))
                for name, (send, periods) in sends.items()
            ]
            tasks.append(asyncio.create_task(self._newcomers(over)))
            try:
                yield
            finally:
                over.set()
                await asyncio.gather(*tasks)

    @property
    def _list(self) -> str:
        return f"/billing/v1/customers?resellerId={self._service.resellerId}&pageSize=10"

    async def _repeat(self, name: str, send: Send, period_s: float, over: asyncio.Event) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                wrong = await send()
            except (httpx.HTTPError, grpc.aio.AioRpcError) as error:
                wrong = f"{type(error).__name__} {error}"
            took = time.monotonic() - began
            self._note(name, wrong)
            if took > self.noticed.slowest_s:
                self.noticed.slowest_s, self.noticed.slowest = took, name
            await _pause(over, period_s - took)

    def _note(self, name: str, wrong: str) -> None:
        self.noticed.answers += 1
        if wrong:
            self.noticed.wrong.append(f"{name}: {wrong[:300]}")

    async def _newcomers(self, over: asyncio.Event) -> None:
        context = ssl.create_default_context(cafile=self._service.ca)
        while not over.is_set():
            began = time.monotonic()
            wrong = "nothing"
            while wrong and time.monotonic() - began < _GIVE_UP_S:
                try:
                    async with httpx.AsyncClient(
                        base_url=self._service.rest_tls, verify=context, timeout=_GIVE_UP_S
                    ) as client:
                        client.headers.update(self._service.headers)
                        wrong = await _rest(client, self._list)
                except httpx.HTTPError as error:
                    wrong = f"{type(error).__name__} {error}"
                    await asyncio.sleep(_AGAIN_S)
            took = time.monotonic() - began
            self._note("newcomer", wrong)
            self.noticed.slowest_newcomer_s = max(self.noticed.slowest_newcomer_s, took)
            await _pause(over, 3 * _PERIOD_S)

    async def _invite(self, rest: httpx.AsyncClient) -> str:
        answer = await rest.post(
            "/billing/v1/customers:invite",
            json=self._service.invitation(),
            headers={"idempotency-key": str(uuid.uuid4())},
        )
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"

    async def _native_get(self, channel: grpc.aio.Channel, operation_id: str) -> str:
        stub: Any = operation_service_pb2_grpc.OperationServiceStub(channel)
        asked = operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        await stub.Get(asked, metadata=self._service.metadata, timeout=_GIVE_UP_S)
        return ""

    async def _native_wait(self, channel: grpc.aio.Channel, operation_id: str) -> str:
        stub: Any = operations_pb2_grpc.OperationsStub(channel)
        asked = operations_pb2.WaitOperationRequest(
            name=f"operations/{operation_id}", timeout=duration_pb2.Duration(nanos=10**8)
        )
        await stub.WaitOperation(asked, metadata=self._service.metadata)
        return ""

    async def _native_list(self, channel: grpc.aio.Channel) -> str:
        stub: Any = customer_service_pb2_grpc.CustomerServiceStub(channel)
        asked = customer_service_pb2.ListCustomersRequest(
            reseller_id=self._service.resellerId, page_size=10
        )
        await stub.List(asked, metadata=self._service.metadata, timeout=_GIVE_UP_S)
        return ""


async def _rest(client: httpx.AsyncClient, path: str, status: int = 200) -> str:
    answer = await client.get(path)
    return "" if answer.status_code == status else f"{answer.status_code} {answer.text}"


async def _pause(over: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await over.wait()
