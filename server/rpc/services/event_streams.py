"""billing.v1.EventStreamService: the stream of events for the gateway."""

from billing.v1 import event_service_pb2

from server.rpc.messages import resource_names as names
from server.rpc.pipeline.call_context import CallContext
from server.rpc.streams.encodings import ENCODINGS, LINES
from server.rpc.streams.streams import Streams


class EventStreamService:
    """Sends what the gateway asks for, or lines of JSON."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def WatchEvents(
        self, request: event_service_pb2.WatchEventsRequest, call: CallContext
    ) -> None:
        header = call.last_event_id
        await self._streams.send(
            call,
            names.parse_parent(request.parent),
            header or request.after,
            request.filter,
            ENCODINGS.get(call.accepts, LINES),
            position_field="Last-Event-ID" if header else "after",
        )
