"""Whether the database can be used."""

from datetime import datetime
from typing import Protocol


class DatabaseProbe(Protocol):
    """Asks the database by a connection of its own, which no queue of calls keeps waiting."""

    async def probe(self) -> str:
        """Returns why nothing can be written now, "" if it can; takes as long as the database does.

        To be called once at a time.
        What it returns holds neither the database's address nor its texts.
        """
        ...

    async def close(self) -> None:
        """Gives the connection back."""
        ...


class DatabaseClock(Protocol):
    """Knows what time the database has, once `DatabaseProbe` has asked."""

    def agreed(self, local: datetime) -> datetime:
        """Returns the time that all processes go by, where this machine's clock says `local`.

        That is the database's where the two differ by a second and more: leases, and when work is due,
        are told by one process and read by another. `local` until that is known, and on SQLite.
        """
        ...
