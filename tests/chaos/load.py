"""Callers who invite without end, by REST and gRPC, and remember what they were told."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc

from tests.service import Service

# How long callers wait for an answer. None at all by then is a hang, whatever is broken.
DEADLINE_S = 12.0
_INVITE = "/billing/v1/customers:invite"


@dataclass(frozen=True)
class Answer:
    """What a call came to: an operation, or `refusal`, the status it was refused with.

    `retry_info` tells whether a refusal said when to come back, `reason` is that of its ErrorInfo. A
    call that broke without a status has its error's name as refusal.
    """

    operation: dict[str, Any] | None = None
    refusal: str = ""
    retry_info: bool = False
    reason: str = ""


@dataclass
class AcknowledgedCalls:
    """What all callers were told."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Operation IDs by the address invited."""
    answers: Counter[str] = field(default_factory=Counter)
    refusals: list[tuple[float, str, Answer]] = field(default_factory=list)
    refused_once: dict[str, str] = field(default_factory=dict)
    """The reasons of calls without a key that were refused, by the address invited."""
    contradictions: list[str] = field(default_factory=list)
    """Repeats of a key that were answered with another operation."""
    slowest_s: float = 0.0
    last_success_at: float = 0.0

    def note(self, kind: str, answer: Answer, took_s: float) -> None:
        self.answers[f"{kind} {answer.refusal or 'OK'}"] += 1
        self.slowest_s = max(self.slowest_s, took_s)
        if answer.refusal:
            self.refusals.append((time.monotonic(), kind, answer))
        else:
            self.last_success_at = time.monotonic()

    def acknowledge(self, email: str, answer: Answer) -> None:
        assert answer.operation
        id_ = answer.operation["id"]
        if self.acknowledged.setdefault(email, id_) != id_:
            self.contradictions.append(email)

    def failures(self) -> dict[str, int]:
        return {kind: count for kind, count in self.answers.items() if not kind.endswith(" OK")}


Invite = Callable[[dict[str, Any], str | None], Awaitable[Answer]]


class Callers:
    """Callers of one service; made by `callers`. All of them go through Envoy."""

    def __init__(self, service: Service, calls: AcknowledgedCalls, pause_s: float) -> None:
        self._service = service
        self.calls = calls
        self._pause_s = pause_s
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def invite(
        self, kind: str, send: Invite, key: str | None, **changes: Any
    ) -> tuple[str, Answer]:
        """Invites once; returns who, and the answer, which is kept if it acknowledges."""
        body = self._service.invitation(**changes)
        return body["invitationEmail"], await self._ask(kind, send, body, key)

    async def _ask(self, kind: str, send: Invite, body: dict[str, Any], key: str | None) -> Answer:
        started = time.monotonic()
        answer = await send(body, key)
        self.calls.note(kind, answer, time.monotonic() - started)
        if answer.operation:
            self.calls.acknowledge(body["invitationEmail"], answer)
        elif key is None:
            self.calls.refused_once[body["invitationEmail"]] = answer.reason
        return answer

    def start(self, kind: str, send: Invite, *, keyed: bool) -> None:
        """Has one more caller invite without end.

        With keys it repeats until it is answered, and once more after, for the same operation.
        """
        self._tasks.append(asyncio.create_task(self._invite_forever(kind, send, keyed)))

    def wait(self, kind: str, stub: Any, timeout_s: int) -> None:
        """Has one more caller wait for the end of the latest operation acknowledged."""
        self._tasks.append(asyncio.create_task(self._wait_forever(kind, stub, timeout_s)))

    async def stop(self) -> None:
        """Returns once all have their last answer."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _invite_forever(self, kind: str, send: Invite, keyed: bool) -> None:
        while not self._stop.is_set():
            body = self._service.invitation()
            key = str(uuid.uuid4()) if keyed else None
            answer = await self._ask(kind, send, body, key)
            while keyed and not answer.operation and not self._stop.is_set():
                await asyncio.sleep(0.1)
                answer = await self._ask(kind, send, body, key)
            if keyed and answer.operation:
                await self._ask(kind, send, body, key)
            await asyncio.sleep(self._pause_s if answer.operation else 0.1)

    async def _wait_forever(self, kind: str, stub: Any, timeout_s: int) -> None:
        while not self._stop.is_set():
            if not self.calls.acknowledged:
                await asyncio.sleep(0.05)
                continue
            name = f"operations/{list(self.calls.acknowledged.values())[-1]}"
            started = time.monotonic()
            try:
                request = operations_pb2.WaitOperationRequest(name=name)
                request.timeout.FromSeconds(timeout_s)
                await stub.WaitOperation(
                    request, metadata=self._service.metadata, timeout=timeout_s + DEADLINE_S
                )
                answer = Answer({})
            except grpc.aio.AioRpcError as error:
                answer = refused(error)
            self.calls.note(kind, answer, 0.0)
            if time.monotonic() - started < 0.05:
                await asyncio.sleep(0.05)


def refused(error: grpc.aio.AioRpcError) -> Answer:
    """Returns what a gRPC error says."""
    found = dict(iter(error.trailing_metadata() or ()))
    details = found.get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(details if isinstance(details, bytes) else b"")
    retry = any(detail.type_url.endswith("RetryInfo") for detail in status.details)
    info = error_details_pb2.ErrorInfo()
    any(detail.Unpack(info) for detail in status.details if detail.Is(info.DESCRIPTOR))
    return Answer(refusal=error.code().name, retry_info=retry, reason=info.reason)


def by_rest(client: httpx.AsyncClient, service: Service) -> Invite:
    """Invites through the transcoder."""

    async def send(body: dict[str, Any], key: str | None) -> Answer:
        headers = {**service.headers, **({"idempotency-key": key} if key else {})}
        try:
            answer = await client.post(_INVITE, json=body, headers=headers)
        except httpx.TransportError as error:
            return Answer(refusal=type(error).__name__)
        if answer.status_code == 200:
            return Answer(answer.json())
        details = answer.json().get("details", ())
        retry = any("RetryInfo" in detail["@type"] for detail in details)
        reason = "".join(detail.get("reason", "") for detail in details)
        return Answer(refusal=str(answer.status_code), retry_info=retry, reason=reason)

    return send


def by_grpc(channel: grpc.aio.Channel, service: Service) -> Invite:
    """Invites through gRPC."""
    stub: Any = customer_service_pb2_grpc.CustomerServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]

    async def send(body: dict[str, Any], key: str | None) -> Answer:
        request = json_format.ParseDict(body, customer_service_pb2.InviteCustomerRequest())
        metadata = (*service.metadata, *((("idempotency-key", key),) if key else ()))
        try:
            operation = await stub.Invite(request, metadata=metadata, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            return refused(error)
        return Answer(json_format.MessageToDict(operation))

    return send


@asynccontextmanager
async def callers(
    service: Service, *, each: int = 1, waits: int = 0, pause_s: float = 0.02, wait_s: int = 5
) -> AsyncIterator[Callers]:
    """Has callers of each kind at work until the block ends; then all have their last answer."""
    async with AsyncExitStack() as open_:
        made = Callers(service, AcknowledgedCalls(), pause_s)
        kinds: list[tuple[str, Invite]] = []
        for number in range(each):
            for name, http2 in (("REST", False), ("REST over HTTP/2", True)):
                client = httpx.AsyncClient(
                    base_url=service.rest, http1=not http2, http2=http2, timeout=DEADLINE_S
                )
                kinds.append((name, by_rest(await open_.enter_async_context(client), service)))
            channel = await open_.enter_async_context(
                grpc.aio.insecure_channel(
                    service.rest.removeprefix("http://"),
                    # Channels to one address would share a connection.
                    options=[("grpc.use_local_subchannel_pool", 1), ("caller", number)],
                )
            )
            kinds.append(("gRPC", by_grpc(channel, service)))
            for _ in range(waits):
                stub: Any = operations_pb2_grpc.OperationsStub(channel)
                made.wait("gRPC wait", stub, wait_s)
        for name, send in kinds:
            for keyed in (False, True):
                made.start(f"{name}{' with key' if keyed else ''}", send, keyed=keyed)
        try:
            yield made
        finally:
            await made.stop()
