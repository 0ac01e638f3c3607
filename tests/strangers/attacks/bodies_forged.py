"""The same with what looks like a token."""

from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.attacks.bodies import hold_bodies


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_bodies(target, count, progress, "Bearer nobody-knows-this")


ATTACK = Attack("bodies without end, forged token", "bodies", 800, 800, _hold)
