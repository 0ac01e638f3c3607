"""billing.v1.EventService."""

from typing import ClassVar

from billing.v1 import event_pb2, event_service_pb2

from server.rpc.messages import resource_names as names
from server.rpc.messages.events import event_not_found, parse_event_filter, to_event
from server.rpc.messages.paging import Pages, page_size
from server.rpc.pipeline.call_context import CallContext
from server.rpc.streams.encodings import GRPC
from server.rpc.streams.streams import Streams
from server.storage.interface import Cursor, Listed
from server.use_cases.events import Events


class EventService:
    """billing.v1.EventService over the use cases."""

    checks: ClassVar = {
        "ListEvents": (
            lambda request: parse_event_filter(request.filter, names.parse_parent(request.parent)),
        )
    }

    def __init__(self, events: Events, streams: Streams, pages: Pages) -> None:
        self._events = events
        self._streams = streams
        self._pages = pages

    async def GetEvent(
        self, request: event_service_pb2.GetEventRequest, call: CallContext
    ) -> event_pb2.Event:
        place = names.parse_name(request.name, names.EVENTS)
        event = await self._events.get(call.caller, *place)
        if event is None:
            raise event_not_found(request.name)
        return to_event(event)

    async def ListEvents(
        self, request: event_service_pb2.ListEventsRequest, call: CallContext
    ) -> event_service_pb2.ListEventsResponse:
        reseller_id = names.parse_parent(request.parent)
        filter_ = parse_event_filter(request.filter, reseller_id)
        scope = ("events", reseller_id, request.after, request.filter)
        after: int | None = self._pages.cursor(request.page_token, *scope)
        if after is None:
            given = names.bare_id(request.after, reseller_id, names.EVENTS)
            after = await self._events.position(call.caller, reseller_id, given)
        size = page_size(request.page_size)
        page = await self._events.page(call.caller, reseller_id, after, filter_, size)
        rows = [Listed(event, Cursor(event.number)) for event in page.events]
        messages, token = await self._pages.page(rows, size, scope, to_event)
        if not token and page.read_to < page.bounds.last:
            token = self._pages.token(Cursor(page.read_to), scope)
        return event_service_pb2.ListEventsResponse(events=messages, next_page_token=token)

    async def WatchEvents(
        self, request: event_service_pb2.WatchEventsRequest, call: CallContext
    ) -> None:
        reseller_id = names.parse_parent(request.parent)
        await self._streams.send(call, reseller_id, request.after, request.filter, GRPC)
