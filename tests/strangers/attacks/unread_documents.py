"""The largest file of the documentation is asked for on many streams, and never read."""

from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.unread import hold_unread


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_unread(target, count, progress, {":path": "/docs/swagger-ui-bundle.js"})


ATTACK = Attack("documents that nobody reads", "streams", 3_000, 1_000, _hold)
