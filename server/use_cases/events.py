"""Reading the log of events, on from wherever the reader stands."""

from collections.abc import Callable, Sequence

from server.domain.access import Permission, Subject
from server.domain.errors import invalid_field
from server.domain.events import Event, event_number, require_within_log
from server.domain.filters import Filter
from server.storage.interface import EventPage, EventStorage

# In place of an ID: after the last event there is.
LATEST = "latest"


class Events:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(self, events: EventStorage) -> None:
        self._events = events

    async def get(self, caller: Subject, reseller_id: str, id_: str) -> Event | None:
        """Returns an event of the reseller."""
        caller.require(Permission.READ, reseller_id)
        number = event_number(reseller_id, id_)
        return None if number is None else await self._events.get_event(reseller_id, number)

    async def position(
        self, caller: Subject, reseller_id: str, after: str, field: str = "after"
    ) -> int:
        """Returns the number of the event that `after` names, 0 for the beginning of what is kept.

        Raises FIELDS_INVALID, which names the field, for what is no ID of an event of this reseller's,
        EVENTS_GONE where events after it are no longer kept.
        """
        caller.require(Permission.READ, reseller_id)
        number = event_number(reseller_id, after) if after else 0
        if number is None and after != LATEST:
            raise invalid_field(
                field,
                "Must be the ID of an event of this reseller, or its name, `latest`, or empty for "
                "the beginning.",
            )
        bounds = await self._events.get_log_bounds(reseller_id)
        if number is None:
            return bounds.last
        if not after:
            return bounds.cleared
        require_within_log(reseller_id, number, *bounds, field)
        return number

    async def page(
        self, caller: Subject, reseller_id: str, after: int, filter_: Filter | None, limit: int
    ) -> EventPage:
        """Returns events after a number; see EventStorage.list_events. Raises EVENTS_GONE."""
        caller.require(Permission.READ, reseller_id)
        return await self.read(reseller_id, after, filter_, limit)

    async def read(
        self, reseller_id: str, after: int, filter_: Filter | None, limit: int
    ) -> EventPage:
        """Does the same as `page` for a caller who is known to have the right."""
        page = await self._events.list_events(reseller_id, after, filter_, limit)
        require_within_log(reseller_id, after, *page.bounds)
        return page

    async def ends(self, reseller_ids: Sequence[str]) -> Sequence[int]:
        """Returns the number of the last event of each log, for who may read them."""
        return await self._events.get_log_ends(reseller_ids)

    def on_growth(self, call: Callable[[Sequence[str]], None]) -> None:
        """Has `call` called with resellers whose logs have grown; see EventStorage.on_events."""
        self._events.on_events(call)
