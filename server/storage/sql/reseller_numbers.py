"""Which number stands for which reseller."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownResellers:
    """Numbers by ID, and IDs by number."""

    numbers: dict[str, int]
    ids: dict[int, str]


class ResellerNumbers:
    """The numbers of resellers and their IDs: neither ever changes, nor is given to another.

    `committed` is shared by all transactions of a storage and holds what is committed; what one
    looks up itself may yet be rolled back, and is shared once it has committed.
    """

    __slots__ = ("_committed", "_found")

    def __init__(self, committed: KnownResellers) -> None:
        self._committed = committed
        self._found = KnownResellers({}, {})

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
