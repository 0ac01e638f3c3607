"""Whether calls are answered at all, and in time."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from server.domain.errors import BillingError, Reason
from server.storage.interface.deadlines import time_to_answer_s

T = TypeVar("T")


class Availability:
    """Has calls refused at once while the database is away, rather than after each has waited for it.

    `refusal` is what they are refused with, None while they are not.
    """

    __slots__ = ("refusal",)

    def __init__(self) -> None:
        self.refusal: BillingError | None = None

    def set(self, available: bool) -> None:
        """Says whether the database can be used."""
        self.refusal = None if available else _away()


async def in_time(awaitable: Awaitable[T]) -> T:
    """Awaits what others may hold up; raises STORAGE_UNAVAILABLE in time before the deadline.

    For what changes nothing: it is then cancelled.
    """
    within_s = time_to_answer_s(time.monotonic())
    if within_s == float("inf"):
        return await awaitable
    try:
        async with asyncio.timeout(within_s):
            return await awaitable
    except TimeoutError:
        raise _away() from None


def _away() -> BillingError:
    return BillingError(
        Reason.STORAGE_UNAVAILABLE,
        "The service's database can't be reached; try again shortly.",
        retry_after_s=1.0,
    )
