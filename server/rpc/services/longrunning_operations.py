"""google.longrunning.Operations."""

from datetime import timedelta
from functools import partial
from typing import ClassVar

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from server.domain.errors import invalid_field
from server.rpc.messages.durations import LONGEST, read_duration
from server.rpc.messages.operations import (
    operation_id,
    operation_not_found,
    parse_operation_filter,
    require_found,
    to_longrunning,
)
from server.rpc.messages.paging import Pages
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.call_context import CallContext
from server.storage.interface import Cursor, Part
from server.use_cases.operations import Operations, OperationWithSubject

_LONGEST_WAIT = timedelta(minutes=10)
_WAIT_WITHOUT_TIMEOUT = timedelta(minutes=1)
# Left of a call's deadline for the answer of a wait to travel back.
_ANSWER_S = 0.2


class LongrunningOperations:
    """google.longrunning.Operations over the use cases."""

    checks: ClassVar = {
        "ListOperations": (lambda request: parse_operation_filter(request.filter),),
    }

    def __init__(self, operations: Operations, authenticator: Authenticator, pages: Pages) -> None:
        self._operations = operations
        self._authenticator = authenticator
        self._pages = pages

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        found = require_found(await self._operations.get(call.caller, wanted), wanted)
        return to_longrunning(await self._operations.with_subject(found))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: CallContext
    ) -> operations_pb2.ListOperationsResponse:
        if request.name not in ("", "operations"):
            raise invalid_field("name", "Must be operations, or empty.")
        filter_ = parse_operation_filter(request.filter)
        # Without a filter as in the tokens of servers before this one, which may run beside it.
        scope = ("operations", call.caller.id, request.filter if filter_ else "None")

        async def read(limit: int, after: Cursor | None) -> Part[OperationWithSubject]:
            rows, read_to = await self._operations.page(call.caller, filter_, limit, after)
            return Part(await self._operations.with_subjects(rows), read_to)

        page, token = await self._pages.read_part(request, scope, read, to_longrunning)
        return operations_pb2.ListOperationsResponse(operations=page, next_page_token=token)

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        longest = _WAIT_WITHOUT_TIMEOUT
        if request.HasField("timeout"):
            try:
                longest = read_duration(request.timeout, timedelta(), LONGEST)
            except ValueError as error:
                raise invalid_field("timeout", str(error)) from None
        if call.time_left_s is not None:
            longest = min(longest, timedelta(seconds=max(0.0, call.time_left_s - _ANSWER_S)))
        waited = await self._operations.wait(
            *(call.caller, wanted, min(longest, _LONGEST_WAIT)),
            partial(self._authenticator.authenticate, call.authorization),
        )
        return to_longrunning(await self._operations.with_subject(require_found(waited, wanted)))

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, call: CallContext
    ) -> empty_pb2.Empty:
        wanted = operation_id(request.name)
        require_found(
            await self._operations.cancel(
                call.caller, wanted, call.request_id, call.idempotency_key
            ),
            wanted,
        )
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, call: CallContext
    ) -> empty_pb2.Empty:
        wanted = operation_id(request.name)
        if not await self._operations.delete(call.caller, wanted, call.idempotency_key):
            raise operation_not_found(wanted)
        return empty_pb2.Empty()
