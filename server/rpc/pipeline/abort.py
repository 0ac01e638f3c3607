"""Ends a call with an error's status; nothing else does."""

import asyncio
import math

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from server.domain.errors import BillingError
from server.rpc.grpc_core import CALL_IS_OVER
from server.rpc.pipeline.call_context import ServicerContext
from server.rpc.pipeline.errors import call_status

# What the gateway looks for in a refusal, and takes out of it (gateway/lua/known_tokens.lua).
_CALLER_KNOWN = ("x-token-known", "1")


async def abort(
    context: ServicerContext,
    error: BillingError,
    request_id: str,
    *,
    json_names: bool = False,
    body: str = "",
    caller_known: bool = False,
    ids: tuple[tuple[str, str], ...] = (),
) -> Message:
    """Ends the call with the error's status; never returns.

    `json_names` and `body` are as in `call_status`. `caller_known` is for the gateway, which has calls of
    those who are not stand in line; `ids` is more metadata.
    """
    trailing: tuple[tuple[str, str | bytes], ...] = (("x-request-id", request_id), *ids)
    if error.retry_after_s is not None:
        trailing += (("retry-after", str(max(1, math.ceil(error.retry_after_s)))),)
    if caller_known:
        trailing += (_CALLER_KNOWN,)
    status = call_status(error, request_id, json_names=json_names, body=body)
    try:
        await context.abort_with_status(_Status(status, trailing))
    except CALL_IS_OVER:
        raise asyncio.CancelledError from None
    raise AssertionError("abort raises")


class _Status(grpc.Status):
    """A google.rpc.Status as grpc sends it, with more trailing metadata."""

    def __init__(
        self, status: status_pb2.Status, trailing: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        self.code = _STATUS_CODES[status.code]
        self.details = status.message
        self.trailing_metadata = (
            ("grpc-status-details-bin", status.SerializeToString()),
            *trailing,
        )


_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
