"""One PostgreSQL for all resellers, and several that share them: each call goes to one of these.

A reseller belongs to one of 1,024 slots, a slot to a database. What a call carries tells the slot: the
reseller's ID or, where it has none, the ID of an operation, customer or invitation, whose first two
random digits are the slot's, as those of all IDs would be once they are split. In front of the secret
of a link the worker would write the same two digits. Accounts, keys and tokens stay in one
database, and `resellers` in every one, with the same numbers.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from server.domain import ids
from server.storage.storage import SqlStorage
from tests.storage.databases import query

SLOTS = 1024
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
# Of the IDs' 3 letters, digit of the time and 16 random digits.
_MARK = slice(4, 6)


def slot_of_reseller(reseller_id: str) -> int:
    return int.from_bytes(hashlib.sha256(reseller_id.encode()).digest()[:2]) % SLOTS


def slot_of_id(id_: str) -> int:
    """Returns the slot that an ID made within `marked` names."""
    high, low = map(_DIGITS.index, id_[_MARK])
    return high << 5 | low


def link_mark(reseller_id: str) -> str:
    """Returns what stands before a link's secret."""
    slot = slot_of_reseller(reseller_id)
    return _DIGITS[slot >> 5] + _DIGITS[slot & 31]


@contextmanager
def marked(reseller_id: str) -> Iterator[None]:
    """IDs that are made meanwhile name the reseller's slot."""
    slot = slot_of_reseller(reseller_id)
    draw = ids.random_bytes

    def random_bytes() -> bytes:
        return bytes((slot >> 5, slot & 31)) + draw()[2:]

    with mock.patch.object(ids, "random_bytes", random_bytes):
        yield


class Split:
    """Which database a call goes to."""

    def __init__(self, storages: Sequence[SqlStorage], slots: dict[int, int]) -> None:
        """`slots` names the database of each slot that is in use."""
        self.storages = storages
        self.slots = slots
        self.calls = [0] * len(storages)

    def by_reseller(self, reseller_id: str) -> SqlStorage:
        return self._of(slot_of_reseller(reseller_id))

    def by_id(self, id_: str) -> SqlStorage:
        return self._of(slot_of_id(id_))

    def by_link(self, link: str) -> tuple[SqlStorage, str]:
        """Returns the database and the secret."""
        high, low = map(_DIGITS.index, link[:2])
        return self._of(high << 5 | low), link[2:]

    def _of(self, slot: int) -> SqlStorage:
        database = self.slots[slot]
        self.calls[database] += 1
        return self.storages[database]


def share_numbers(urls: Sequence[str]) -> None:
    """Lets each database draw numbers that no other one does, so that rows can move."""
    for place, url in enumerate(urls, 1):
        query(url, f"ALTER SEQUENCE numbers INCREMENT BY {SLOTS} RESTART WITH {place}")


def place_by_size(weights: dict[str, float], databases: int) -> dict[int, int]:
    """Gives each reseller, the largest first, to the database that has the least; returns the slots."""
    load = [0.0] * databases
    slots: dict[int, int] = {}
    for reseller_id, weight in sorted(weights.items(), key=lambda item: -item[1]):
        slot = slot_of_reseller(reseller_id)
        slots.setdefault(slot, load.index(min(load)))
        load[slots[slot]] += weight
    return slots
