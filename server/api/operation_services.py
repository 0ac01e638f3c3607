"""Both operation services over the same records."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from server.api import paging
from server.api.calls import Call
from server.api.operations import google_style, not_found, operation_id, published
from server.domain.access import Permission, permission_missing
from server.domain.errors import BillingError, FieldViolation, Reason
from server.domain.operations import Operation
from server.storage.interface import Storage

_FILTER = re.compile(
    r"\s*(?:(?P<negated>not\s+|-)?done(?:\s*[=:]\s*\"?(?P<value>true|false)\"?)?)\s*", re.IGNORECASE
)
_LONGEST_WAIT = timedelta(minutes=10)
_WAIT_WITHOUT_TIMEOUT = timedelta(minutes=1)
# Left of a call's deadline for the answer of a wait to travel back.
_ANSWER_S = 0.2


class Operations:
    """What both services do: look after permission, then ask the storage."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._clock = clock

    async def get(self, wanted: str, call: Call, permission: Permission) -> Operation:
        """Returns an operation that the caller has the permission for."""
        operation = await self._storage.get_operation(wanted)
        if operation:
            call.caller.require(permission, operation.reseller_id)
            return operation
        if not call.caller.resellers(permission):
            raise permission_missing(permission)
        raise not_found(wanted)

    async def cancel(self, wanted: str, call: Call) -> Operation:
        """Cancels as far as that is still possible."""
        await self.get(wanted, call, Permission.WRITE)
        operation = await self._storage.cancel_operation(
            wanted, self._clock(), call.idempotency_key
        )
        if operation is None:
            raise not_found(wanted)
        return operation

    async def delete(self, wanted: str, call: Call) -> None:
        """Deletes the record of a finished operation."""
        operation = await self._storage.get_operation(wanted)
        if operation:
            call.caller.require(Permission.WRITE, operation.reseller_id)
        elif not call.caller.resellers(Permission.WRITE):
            raise permission_missing(Permission.WRITE)
        if not await self._storage.delete_operation(wanted, self._clock(), call.idempotency_key):
            raise not_found(wanted)

    async def wait(self, wanted: str, longest: timedelta, call: Call) -> Operation:
        """Returns the operation once it is done or the time is over."""
        operation = await self.get(wanted, call, Permission.READ)
        if operation.done:
            return operation
        waited = await self._storage.wait_operation(wanted, longest)
        if waited is None:
            raise not_found(wanted)
        return waited


class OperationService:
    """yandex.cloud.operation.OperationService."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Get(
        self, request: operation_service_pb2.GetOperationRequest, call: Call
    ) -> operation_pb2.Operation:
        found = await self._operations.get(request.operation_id, call, Permission.READ)
        return published(found)

    async def Cancel(
        self, request: operation_service_pb2.CancelOperationRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(await self._operations.cancel(request.operation_id, call))


class LongrunningOperations:
    """google.longrunning.Operations."""

    def __init__(self, operations: Operations, storage: Storage) -> None:
        self._operations = operations
        self._storage = storage

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, call: Call
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        return google_style(await self._operations.get(wanted, call, Permission.READ))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: Call
    ) -> operations_pb2.ListOperationsResponse:
        if request.name not in ("", "operations"):
            raise _invalid("name", "Must be operations, or empty.")
        resellers = call.caller.resellers(Permission.READ)
        if not resellers:
            raise permission_missing(Permission.READ)
        done = _parse_filter(request.filter)
        size = paging.page_size(request.page_size)
        scope = ("operations", call.caller.id, str(done))
        rows = await self._storage.list_operations(
            resellers, done, size + 1, paging.cursor(request.page_token, *scope)
        )
        page, token = paging.cut(rows, size, *scope)
        return operations_pb2.ListOperationsResponse(
            operations=[google_style(operation) for operation in page], next_page_token=token
        )

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, call: Call
    ) -> operations_pb2.Operation:
        wanted = operation_id(request.name)
        longest = _WAIT_WITHOUT_TIMEOUT
        if request.HasField("timeout"):
            if request.timeout.seconds < 0 or request.timeout.nanos < 0:
                raise _invalid("timeout", "Must not be negative.")
            longest = timedelta(seconds=min(request.timeout.seconds, 10**6))
            longest += timedelta(microseconds=request.timeout.nanos / 1000)
        if call.time_left_s is not None:
            longest = min(longest, timedelta(seconds=max(0.0, call.time_left_s - _ANSWER_S)))
        return google_style(await self._operations.wait(wanted, min(longest, _LONGEST_WAIT), call))

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, call: Call
    ) -> empty_pb2.Empty:
        await self._operations.cancel(operation_id(request.name), call)
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, call: Call
    ) -> empty_pb2.Empty:
        await self._operations.delete(operation_id(request.name), call)
        return empty_pb2.Empty()


def _parse_filter(text: str) -> bool | None:
    """Reads `done = true`, `done=false`, `NOT done`, `-done` or `done`; empty means all."""
    if not text.strip():
        return None
    parsed = _FILTER.fullmatch(text)
    if not parsed:
        raise _invalid("filter", "Must be 'done = true' or 'done = false', or empty.")
    done = (parsed["value"] or "true").lower() == "true"
    return not done if parsed["negated"] else done


def _invalid(field: str, description: str) -> BillingError:
    return BillingError(
        Reason.FIELDS_INVALID,
        "The request has fields that are not valid.",
        fields=[FieldViolation(field, description)],
    )
