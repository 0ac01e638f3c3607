"""How many calls may be in work at once: over all, and shared out among callers."""

import asyncio
from collections import deque
from typing import Self

from server.domain.errors import BillingError, Reason

# Nobody waits longer than this for somebody's slow reader.
_LONGEST_TURN_S = 0.1


class ConcurrencyLimit:
    """Bounds the calls that are in work at once, and shares them out among callers.

    A caller may take a place as long as it has fewer than are left for all others. So one caller gets
    half of them, two greedy ones a third each, and there is always one for who comes next.
    """

    def __init__(self, most: int, refusal: BillingError | None = None) -> None:
        """`refusal` is raised in place of OVERLOADED. `refused` counts them."""
        self.refused = 0
        self._refusal = refusal
        self._most = self._free = most
        self._taken: dict[str, int] = {}

    @property
    def in_work(self) -> int:
        """How many places are taken."""
        return self._most - self._free

    def acquire(self, caller: str) -> None:
        """Takes a place, which must be released; raises OVERLOADED, or the refusal."""
        taken = self._taken.get(caller, 0)
        if taken >= self._free:
            self.refused += 1
            raise self._refusal or BillingError(
                Reason.OVERLOADED,
                "The server has as many calls in work as it can bear, or as one caller may have; "
                "try again shortly.",
                retry_after_s=1.0,
            )
        self._taken[caller] = taken + 1
        self._free -= 1

    def release(self, caller: str) -> None:
        """Gives a place back."""
        taken = self._taken.pop(caller) - 1
        if taken:
            self._taken[caller] = taken
        self._free += 1


class RoundRobin:
    """Lets a few calls at a time do expensive work; waiting callers get their turns round robin."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        # Callers in the order in which they are next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(map(len, self._waiting.values()))

    async def acquire(self, caller: str) -> None:
        """Returns when it is the caller's turn, which must be released."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Hands the turn to the next."""
        while self._waiting:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self._waiting[caller] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Turn:
    """A turn of a round robin in which something is sent. It ends once, by itself after a while."""

    def __init__(self, turns: RoundRobin) -> None:
        self._turns = turns
        self._has_ended = False
        self._timer = asyncio.get_running_loop().call_later(_LONGEST_TURN_S, self.end)

    @classmethod
    async def of(cls, turns: RoundRobin, caller: str) -> Self:
        """Returns when it is the caller's turn, which must be ended."""
        await turns.acquire(caller)
        return cls(turns)

    def end(self) -> None:
        """Hands the turn on."""
        if not self._has_ended:
            self._has_ended = True
            self._timer.cancel()
            self._turns.release()
