"""What a servicer knows about a call beside its request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from server.domain.access import Subject
from server.storage.interface import IdempotencyKey

# What grpc itself hands to a handler.
ServicerContext = grpc.aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class CallContext:
    """What the pipeline has found out about a call.

    `subject` is None only for methods that are open to all. `time_left_s` is None for a call
    without a deadline. `idempotency_key` is set if the caller sent one with a changing method.
    `authorization` is the header that proved the subject. `address` is where a call without identity
    comes from, as far as the gateway tells. `languages` is the Accept-Language of a browser.
    `send_headers` sends headers ahead of the answer, once.
    """

    subject: Subject | None
    request_id: str
    idempotency_key: IdempotencyKey | None
    time_left_s: float | None
    authority: str
    authorization: str
    address: str
    languages: str
    send_headers: Callable[[tuple[tuple[str, str], ...]], Awaitable[None]]

    @property
    def caller(self) -> Subject:
        """The proven subject of a method that is not open to all."""
        if self.subject is None:
            raise LookupError("the method is open to all")
        return self.subject
