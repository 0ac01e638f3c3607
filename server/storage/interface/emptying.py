"""What the sandbox alone asks of the storage."""

from typing import Protocol


class EmptyingStorage(Protocol):
    """Forgets what tests have made."""

    async def empty_reseller(self, reseller_id: str) -> None:
        """Removes all that a reseller has, but itself, its details and the rights to it.

        No worker may have claimed any of it. Addresses that bounced for it get e-mails again.
        """
        ...
