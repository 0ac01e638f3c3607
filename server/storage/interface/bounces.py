"""Bounces: what comes back of invitations' e-mails."""

from datetime import datetime
from typing import Protocol

from server.domain.bounces import BounceOutcome, BounceReport, BounceToken


class BounceStorage(Protocol):
    """Records what comes back."""

    async def knows_bounce(self, token: BounceToken) -> bool:
        """Tells whether an e-mail has this token."""
        ...

    async def record_bounce(
        self, token: BounceToken, report: BounceReport, now: datetime
    ) -> BounceOutcome:
        """Records that the latest e-mail of a pending invitation came back, with its event.

        A report of an e-mail that is late, of one that was replaced, of one that is known to have
        come back, and a token that proves nothing change nothing. Where the reader says that it is
        unwanted, nothing more is sent to them, as in SuppressionStorage.suppress_by_link.
        """
        ...
