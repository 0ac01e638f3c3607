"""Discovery: where the services are. All of them are at one address."""

import re

from yandex.cloud.endpoint import api_endpoint_pb2, api_endpoint_service_pb2

from server.domain.errors import BillingError, Reason, Resource
from server.rpc.pipeline.call_context import CallContext

# The names that official SDKs look for.
SERVICES = ("billing", "endpoint", "iam", "operation")

_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?P<port>:[0-9]{1,5})?")
_HTTPS_PORT = 443


class ApiEndpointService:
    """yandex.cloud.endpoint.ApiEndpointService."""

    def __init__(self, fixed: str, default: str) -> None:
        """Addresses are `host:port`.

        `fixed` is given to all if it is set; else each gets the address that it came by over TLS,
        and who came otherwise the default.
        """
        self._fixed = fixed
        self._default = default

    async def Get(
        self, request: api_endpoint_service_pb2.GetApiEndpointRequest, call: CallContext
    ) -> api_endpoint_pb2.ApiEndpoint:
        if request.api_endpoint_id not in SERVICES:
            raise BillingError(
                Reason.NOT_FOUND,
                f"There is no such service; these are: {', '.join(SERVICES)}.",
                resource=Resource(
                    "yandex.cloud.endpoint.ApiEndpoint", request.api_endpoint_id[:100]
                ),
            )
        return api_endpoint_pb2.ApiEndpoint(
            id=request.api_endpoint_id, address=self._address(call.authority)
        )

    async def List(
        self, _request: api_endpoint_service_pb2.ListApiEndpointsRequest, call: CallContext
    ) -> api_endpoint_service_pb2.ListApiEndpointsResponse:
        address = self._address(call.authority)
        return api_endpoint_service_pb2.ListApiEndpointsResponse(
            endpoints=[
                api_endpoint_pb2.ApiEndpoint(id=service, address=address) for service in SERVICES
            ]
        )

    def _address(self, came_by: str) -> str:
        if self._fixed:
            return self._fixed
        found = _ADDRESS.fullmatch(came_by)
        if not found:
            return self._default
        return came_by if found["port"] else f"{came_by}:{_HTTPS_PORT}"
