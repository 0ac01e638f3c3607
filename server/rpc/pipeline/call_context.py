"""What a servicer knows about a call beside its request."""

from collections.abc import Mapping
from typing import Any

import grpc

from server.domain.access import Subject
from server.rpc.pipeline.concurrency import Turn
from server.storage.interface import IdempotencyKey

# What grpc itself hands to a handler.
ServicerContext = grpc.aio.ServicerContext[Any, Any]

_WEBHOOK_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class CallContext:
    """What the pipeline has found out about a call.

    `subject` is None only for methods that are open to all. `idempotency_key` is set if the caller
    sent one with a changing method. `address` is where a call without identity comes from, as far as
    the gateway tells.
    """

    __slots__ = (
        "_context",
        "_headers",
        "_opening",
        "address",
        "idempotency_key",
        "request_id",
        "subject",
    )

    def __init__(
        self,
        subject: Subject | None,
        request_id: str,
        idempotency_key: IdempotencyKey | None,
        address: str,
        headers: Mapping[str, Any],
        context: ServicerContext,
        opening: Turn | None,
    ) -> None:
        self.subject = subject
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.address = address
        self._headers = headers
        self._context = context
        self._opening = opening

    @property
    def caller(self) -> Subject:
        """The proven subject of a method that is not open to all."""
        if self.subject is None:
            raise LookupError("the method is open to all")
        return self.subject

    @property
    def authority(self) -> str:
        """The host and port that a call by way of the gateway was sent to."""
        return self.header("x-forwarded-host")

    @property
    def authorization(self) -> str:
        """The header that proved the subject."""
        return self.header("authorization")

    @property
    def languages(self) -> str:
        """The Accept-Language of a browser."""
        return self.header("accept-language")

    @property
    def accepts(self) -> str:
        """The content type that the gateway asks for in the name of a stream's caller."""
        return self.header("accept")

    @property
    def last_event_id(self) -> str:
        """The ID that a browser got last from the stream that it opens again."""
        return self.header("last-event-id")

    @property
    def webhook_headers(self) -> dict[str, str]:
        """What proves who signed the body of a call, by Standard Webhooks; "" for what is not there."""
        return {name: self.header(name) for name in _WEBHOOK_HEADERS}

    @property
    def time_left_s(self) -> float | None:
        """What is left until the call's deadline, None without one."""
        return self._context.time_remaining()

    def has_begun(self) -> None:
        """To be called once a stream has begun, so that the next one can."""
        if self._opening:
            self._opening.end()

    async def send_headers(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Sends headers ahead of the answer, once."""
        await self._context.send_initial_metadata(headers)

    async def write(self, message: bytes) -> None:
        """Sends a message of a streaming method; returns once the connection has taken it."""
        await self._context.write(message)

    def header(self, name: str) -> str:
        """The header of this name, in lower case; "" where there is none."""
        value: str = self._headers.get(name, "")
        return value
