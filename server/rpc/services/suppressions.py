"""billing.v1.SuppressionService."""

from functools import partial

from billing.v1 import suppression_pb2, suppression_service_pb2
from google.protobuf import empty_pb2

from server.domain.errors import BillingError, Reason, Resource
from server.domain.suppressions import Suppression
from server.rpc.messages import resource_names as names
from server.rpc.messages.invitations import delivery_error
from server.rpc.messages.paging import Pages
from server.rpc.messages.timestamps import timestamp
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.suppressions import Suppressions


class SuppressionService:
    """billing.v1.SuppressionService over the use cases."""

    def __init__(self, suppressions: Suppressions, pages: Pages) -> None:
        self._suppressions = suppressions
        self._pages = pages

    async def ListSuppressions(
        self, request: suppression_service_pb2.ListSuppressionsRequest, call: CallContext
    ) -> suppression_service_pb2.ListSuppressionsResponse:
        reseller_id = names.parse_parent(request.parent)
        page, token = await self._pages.read(
            request,
            ("suppressions", reseller_id),
            partial(self._suppressions.page, call.caller, reseller_id),
            _message,
        )
        return suppression_service_pb2.ListSuppressionsResponse(
            suppressions=page, next_page_token=token
        )

    async def DeleteSuppression(
        self, request: suppression_service_pb2.DeleteSuppressionRequest, call: CallContext
    ) -> empty_pb2.Empty:
        place = names.parse_name(request.name, names.SUPPRESSIONS)
        if not await self._suppressions.release(
            call.caller, *place, call.request_id, call.idempotency_key
        ):
            raise BillingError(
                Reason.NOT_FOUND,
                "No such address bounced for this reseller, or it is released already; see "
                "ListSuppressions.",
                resource=Resource("billing.v1.Suppression", request.name[:100]),
            )
        return empty_pb2.Empty()


def _message(suppression: Suppression) -> suppression_pb2.Suppression:
    return suppression_pb2.Suppression(
        name=names.name(suppression.reseller_id, names.SUPPRESSIONS, suppression.id),
        email=suppression.email,
        create_time=timestamp(suppression.created_at),
        error=delivery_error(suppression.error) if suppression.error else None,
    )
