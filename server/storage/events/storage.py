"""The log's part of the storage."""

from collections.abc import Callable, Sequence

from server.domain.events import Event
from server.domain.filters import Filter
from server.storage.events.read import Page, Place, get_bounds, get_ends, get_events, list_events
from server.storage.interface.events import EventPage, LogBounds
from server.storage.notify.notifier import Notifier
from server.storage.sql.batches import Batcher
from server.storage.sql.reseller_cache import ResellerCache


class SqlEvents:
    """Implements `interface.EventStorage`."""

    def __init__(self, reads: Batcher, notifier: Notifier, resellers: ResellerCache) -> None:
        self._reads = reads
        self._notifier = notifier
        self._resellers = resellers

    async def get_event(self, reseller_id: str, number: int) -> Event | None:
        return await self._reads.submit(get_events, Place(reseller_id, number))

    async def list_events(
        self, reseller_id: str, after: int, filter_: Filter | None, limit: int
    ) -> EventPage:
        return await self._reads.submit(list_events, Page(reseller_id, after, filter_, limit))

    async def get_log_bounds(self, reseller_id: str) -> LogBounds:
        return await self._reads.submit(get_bounds, reseller_id)

    async def get_log_ends(self, reseller_ids: Sequence[str]) -> Sequence[int]:
        return await self._reads.submit(get_ends, reseller_ids)

    def on_events(self, call: Callable[[Sequence[str]], None]) -> None:
        def grown(numbers: Sequence[int]) -> None:
            # Of those whose log has been read here, the number is known.
            known = map(self._resellers.ids.get, numbers)
            if reseller_ids := [id_ for id_ in known if id_ is not None]:
                call(reseller_ids)

        self._notifier.on_log.append(grown)
