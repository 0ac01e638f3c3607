"""What time brings about: invitations expire, and what is old is cleared."""

from datetime import datetime
from typing import Protocol


class RetentionStorage(Protocol):
    """Does a little of it at a time."""

    async def expire_invitations(self, now: datetime, limit: int) -> int:
        """Records the expiry of at most `limit` invitations that have lapsed; returns of how many."""
        ...

    async def tell_expiring(self, now: datetime, limit: int) -> int:
        """Tells of about `limit` invitations that end within three days; returns of how many.

        Each end is told of once.
        """
        ...

    async def remind_invitees(self, now: datetime, days: tuple[int, ...], limit: int) -> int:
        """Makes reminders for about `limit` invitations, so many days before their end; returns how many.

        An invitation that says by itself when goes before `days`. Who was sent an e-mail in the last
        twelve hours is not reminded. What has passed before the first look is not made up for.
        """
        ...

    async def purge_customers(self, now: datetime, limit: int) -> int:
        """Removes at most `limit` customers that were deleted 30 days ago; returns how many."""
        ...

    async def clear_idempotency_keys(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` keys that count as unknown since an hour; returns how many."""
        ...

    async def clear_operations(self, before: datetime, limit: int) -> int:
        """Clears at most `limit` operations that ended before the time; returns how many.

        An operation for which an idempotency key stands is kept, even if that key has become so old
        that it counts as unknown.
        """
        ...

    async def clear_links(self, before: datetime, limit: int) -> int:
        """Clears the links to at most `limit` invitations that ended before the time.

        Returns to how many. Until then the invitee can see how the invitation ended.
        """
        ...

    async def clear_revoked_tokens(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` revocations of tokens that expired an hour ago; returns how many."""
        ...

    async def clear_counts(self, now: datetime, limit: int) -> int:
        """Clears at most `limit` counts of e-mails that count no more since an hour, or a few more.

        Returns how many.
        """
        ...

    async def clear_events(self, before: datetime, limit: int) -> int:
        """Clears at most `limit` older events, of each log the oldest first; returns how many."""
        ...

    async def clear_attempts(self, before: datetime, limit: int) -> int:
        """Clears at most `limit` tries to deliver to webhooks that are older; returns how many."""
        ...
