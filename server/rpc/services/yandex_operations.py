"""yandex.cloud.operation.OperationService."""

from yandex.cloud.operation import operation_pb2, operation_service_pb2

from server.rpc.messages.operations import require_found, to_yandex
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.operations import Operations


class YandexOperationService:
    """yandex.cloud.operation.OperationService over the use cases."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Get(
        self, request: operation_service_pb2.GetOperationRequest, call: CallContext
    ) -> operation_pb2.Operation:
        wanted = request.operation_id
        return to_yandex(require_found(await self._operations.get(call.caller, wanted), wanted))

    async def Cancel(
        self, request: operation_service_pb2.CancelOperationRequest, call: CallContext
    ) -> operation_pb2.Operation:
        wanted = request.operation_id
        cancelled = await self._operations.cancel(
            call.caller, wanted, call.request_id, call.idempotency_key
        )
        return to_yandex(require_found(cancelled, wanted))
