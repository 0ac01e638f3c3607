"""One viewer reads over more connections than one client would have."""

from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.attacks.reads import hold_reads


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_reads(target, count, progress, connections=45)


ATTACK = Attack("one viewer's flood of reads", "calls at a time", 4_500, 450, _hold)
