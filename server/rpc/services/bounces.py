"""billing.v1.BounceService: reports of relays, which prove themselves by what they sign."""

from collections.abc import Mapping
from typing import Protocol

from billing.v1 import bounce_service_pb2
from google.protobuf import empty_pb2

from server.rpc.pipeline.call_context import CallContext


class Reports(Protocol):
    """Takes reports."""

    async def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Records what a report tells, if it is signed; raises BillingError."""
        ...


class BounceService:
    """billing.v1.BounceService."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def ReportBounce(
        self, request: bounce_service_pb2.ReportBounceRequest, call: CallContext
    ) -> empty_pb2.Empty:
        await self._reports.take(request.report.data, call.webhook_headers)
        return empty_pb2.Empty()
