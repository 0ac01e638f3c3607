"""A method that is open to all is called on many streams, and its answers are never read."""

from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.unread import hold_unread


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_unread(target, count, progress, {":path": "/endpoints"})


ATTACK = Attack("answers that nobody reads", "streams", 6_000, 1_000, _hold)
