"""Fakes around the service: a mail server that refuses, and a proxy that drops answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from aiosmtpd.controller import Controller
from yandex.cloud.operation import operation_pb2

_FORWARDED = ("authorization", "idempotency-key", "x-request-id")


class _RejectingSmtpHandler:
    """Refuses recipients by how their address begins: `refused` for good, `later` for now."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: object, _session: object, envelope: Any, address: str, _options: object
    ) -> str:
        if address.startswith("refused"):
            return "550 5.1.1 No such mailbox"
        if address.startswith("later"):
            return "451 4.7.1 Come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"


@contextlib.contextmanager
def mail_server(port: int) -> Iterator[str]:
    """Runs the mail server; gives its URL."""
    controller = Controller(_RejectingSmtpHandler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


class _AnswerDroppingProxy(grpc.GenericRpcHandler):
    """Hands calls on, and drops the answer to the first attempt with each idempotency key.

    To the caller the service is then UNAVAILABLE, though the call was done. The answer that comes
    through at last has the operation of the lost one in its trailing metadata.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._lost: dict[str, str] = {}

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        hand_on: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(call.method)

        def behaviour(raw: bytes, context: grpc.ServicerContext) -> bytes:
            metadata: dict[str, Any] = dict(context.invocation_metadata())
            answer = hand_on(
                raw, metadata=tuple((key, metadata[key]) for key in _FORWARDED if key in metadata)
            )
            key = metadata["idempotency-key"]
            if key not in self._lost:
                self._lost[key] = operation_pb2.Operation.FromString(answer).id
                context.abort(grpc.StatusCode.UNAVAILABLE, "the answer got lost")
            context.set_trailing_metadata((("x-lost-operation", self._lost[key]),))
            return answer

        return grpc.unary_unary_rpc_method_handler(behaviour)


@contextlib.contextmanager
def answer_dropping_proxy(target: str, tls: Path) -> Iterator[str]:
    """Runs a proxy to `target` that drops answers; gives its address, whose certificate is in `tls`."""
    credentials = grpc.ssl_server_credentials(
        [((tls / "localhost.key").read_bytes(), (tls / "localhost.pem").read_bytes())]
    )
    with grpc.insecure_channel(target) as channel:
        server = grpc.server(
            futures.ThreadPoolExecutor(4), handlers=[_AnswerDroppingProxy(channel)]
        )
        port = server.add_secure_port("localhost:0", credentials)
        server.start()
        try:
            yield f"localhost:{port}"
        finally:
            server.stop(None).wait()
