"""Whether the database can be used."""

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
