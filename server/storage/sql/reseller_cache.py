"""The numbers of resellers by their IDs and the IDs by numbers, so that no call looks them up anew."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResellerCache:
    """What transactions have looked up and committed."""

    numbers: dict[str, int]
    ids: dict[int, str]


class TransactionResellers:
    """The resellers that one transaction knows: those of the cache, and those that it looked up.

    What it looked up may yet be rolled back, so others see it only once it has committed (`share`).
    A reseller's number and ID never change, nor are they given to another; nothing is ever dropped.
    """

    __slots__ = ("_committed", "_found")

    def __init__(self, committed: ResellerCache) -> None:
        self._committed = committed
        self._found = ResellerCache({}, {})

    def number(self, id_: str) -> int | None:
        """Returns a reseller's number, if it is known."""
        return self._committed.numbers.get(id_) or self._found.numbers.get(id_)

    def id(self, number: int) -> str | None:
        """Returns a reseller's ID, if it is known."""
        return self._committed.ids.get(number) or self._found.ids.get(number)

    def add(self, id_: str, number: int) -> None:
        """Notes what was found."""
        self._found.numbers[id_] = number
        self._found.ids[number] = id_

    def share(self) -> None:
        """Lets other transactions know, after this one has committed."""
        if self._found.numbers:
            self._committed.numbers.update(self._found.numbers)
            self._committed.ids.update(self._found.ids)
