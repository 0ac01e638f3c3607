"""The feeds of all resellers whose logs are followed in this process."""

import asyncio
import logging
import math
from collections.abc import Sequence
from functools import partial

from server.rpc.streams.feed import Feed, Follower
from server.telemetry.failure_log import FailureLog
from server.use_cases.events import Events

_FAILURES = FailureLog(logging.getLogger(__name__))

# Signals may be lost.
_LOOK_EVERY_S = 1.0


class Feeds:
    """Has each feed read when its log has grown: told so, or by one look at the ends of all."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._feeds: dict[str, Feed] = {}
        self._looking: asyncio.Task[None] | None = None
        events.on_growth(self._have_grown)

    def follow(self, reseller_id: str, last: int, follower: Follower) -> Feed:
        """Returns the feed of a reseller whose last event has this number."""
        feed = self._feeds.get(reseller_id)
        if feed is None:
            feed = self._feeds[reseller_id] = Feed(last, partial(self._events.read, reseller_id))
        feed.followers.add(follower)
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking())
        return feed

    async def leave(self, reseller_id: str, feed: Feed, follower: Follower) -> None:
        """Is told that a follower has ended."""
        feed.followers.discard(follower)
        if not feed.followers:
            if self._feeds.get(reseller_id) is feed:
                del self._feeds[reseller_id]
            await feed.close()

    async def catch_up(self) -> None:
        """Has all of them read all that there is."""
        reading = (feed.catch_up() for feed in list(self._feeds.values()))
        await asyncio.gather(*reading, return_exceptions=True)

    def _have_grown(self, reseller_ids: Sequence[str]) -> None:
        for reseller_id in reseller_ids:
            feed = self._feeds.get(reseller_id)
            if feed:
                feed.look()

    async def _keep_looking(self) -> None:
        while self._feeds:
            await asyncio.sleep(_LOOK_EVERY_S)
            reseller_ids = list(self._feeds)
            try:
                ends: Sequence[float] = await self._events.ends(reseller_ids)
            except Exception as error:
                _FAILURES.tell_error("the ends of logs can't be read", error)
                # Each feed finds out for itself, and ends its streams if that lasts.
                ends = [math.inf] * len(reseller_ids)
            for reseller_id, end in zip(reseller_ids, ends, strict=True):
                feed = self._feeds.get(reseller_id)
                if feed and feed.read_to < end:
                    feed.look()
        self._looking = None
