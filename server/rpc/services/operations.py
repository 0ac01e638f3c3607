"""Both operation services over the same records."""

import re
from datetime import timedelta
from functools import partial

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from server.domain.errors import invalid_field
from server.domain.operations import Operation
from server.rpc.messages import paging
from server.rpc.messages.operations import google_style, not_found, operation_id, published
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.operations import Operations

_FILTER = re.compile(
    r"\s*(?:(?P<negated>not\s+|-)?done(?:\s*[=:]\s*\"?(?P<value>true|false)\"?)?)\s*", re.IGNORECASE
)
_LONGEST_WAIT = timedelta(minutes=10)
_WAIT_WITHOUT_TIMEOUT = timedelta(minutes=1)
# Left of a call's deadline for the answer of a wait to travel back.
_ANSWER_S = 0.2


class OperationService:
    """yandex.cloud.operation.OperationService."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Get(
        self, request: operation_service_pb2.GetOperationRequest, call: CallContext
    ) -> operation_pb2.Operation:
        found = await self._operations.get(call.caller, request.operation_id)
        return published(_found(found, request.operation_id))

    async def Cancel(
        self, request: operation_service_pb2.CancelOperationRequest, call: CallContext
    ) -> operation_pb2.Operation:
        wanted = request.operation_id
        cancelled = await self._operations.cancel(call.caller, wanted, call.idempotency_key)
        return published(_found(cancelled, wanted))


class LongrunningOperations:
    """google.longrunning.Operations."""

    def __init__(
        self, operations: Operations, authenticator: Authenticator, pages: paging.Pages
    ) -> None:
        self._operations = operations
        self._authenticator = authenticator
        self._pages = pages

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        return google_style(_found(await self._operations.get(call.caller, wanted), wanted))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: CallContext
    ) -> operations_pb2.ListOperationsResponse:
        if request.name not in ("", "operations"):
            raise invalid_field("name", "Must be operations, or empty.")
        done = _parse_filter(request.filter)
        size = paging.page_size(request.page_size)
        scope = ("operations", call.caller.id, str(done))
        after = self._pages.cursor(request.page_token, *scope)
        rows = await self._operations.page(call.caller, done, size + 1, after)
        page, token = await self._pages.page(rows, size, scope, google_style)
        return operations_pb2.ListOperationsResponse(operations=page, next_page_token=token)

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        longest = _WAIT_WITHOUT_TIMEOUT
        if request.HasField("timeout"):
            if request.timeout.seconds < 0 or request.timeout.nanos < 0:
                raise invalid_field("timeout", "Must not be negative.")
            longest = timedelta(seconds=min(request.timeout.seconds, 10**6))
            longest += timedelta(microseconds=request.timeout.nanos / 1000)
        if call.time_left_s is not None:
            longest = min(longest, timedelta(seconds=max(0.0, call.time_left_s - _ANSWER_S)))
        waited = await self._operations.wait(
            *(call.caller, wanted, min(longest, _LONGEST_WAIT)),
            partial(self._authenticator.authenticate, call.authorization),
        )
        return google_style(_found(waited, wanted))

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, call: CallContext
    ) -> empty_pb2.Empty:
        wanted = operation_id(request.name)
        _found(await self._operations.cancel(call.caller, wanted, call.idempotency_key), wanted)
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, call: CallContext
    ) -> empty_pb2.Empty:
        wanted = operation_id(request.name)
        if not await self._operations.delete(call.caller, wanted, call.idempotency_key):
            raise not_found(wanted)
        return empty_pb2.Empty()


def _found(operation: Operation | None, wanted: str) -> Operation:
    if operation is None:
        raise not_found(wanted)
    return operation


def _parse_filter(text: str) -> bool | None:
    """Reads `done = true`, `done=false`, `NOT done`, `-done` or `done`; empty means all."""
    if not text.strip():
        return None
    parsed = _FILTER.fullmatch(text)
    if not parsed:
        raise invalid_field("filter", "Must be 'done = true' or 'done = false', or empty.")
    done = (parsed["value"] or "true").lower() == "true"
    return not done if parsed["negated"] else done
