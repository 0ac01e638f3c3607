"""What workers tell of webhooks that fail."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from server.storage.interface.work import MAX_DUE_AHEAD


class AlertKind(StrEnum):
    """What an e-mail to a webhook's `alert_email` says."""

    WARNING = "warning"
    DISABLED = "disabled"


class WebhookAlert(NamedTuple):
    """What is to be told of a webhook that fails, claimed by one worker until `lease_until`.

    email: whom to tell; None: the operator's log alone.
    reason: why it is disabled, "" for a warning; error: what became of the last try.
    disabled_at: when it will be, or was.
    """

    number: int
    attempt: int
    lease_until: datetime
    requested_at: datetime
    kind: AlertKind
    reseller_id: str
    webhook_id: str
    url: str
    description: str
    email: str | None
    reason: str
    error: str
    disabled_at: datetime

    @property
    def tries(self) -> int:
        """How many claims there were before."""
        return self.attempt - 1


class AlertStorage(Protocol):
    """Gives to workers what is to be told of webhooks that fail; disables them in time."""

    async def claim_webhook_alerts(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[WebhookAlert]:
        """Claims what is to be told; webhooks that have failed for five days are disabled now."""
        ...

    async def finish_webhook_alert(self, alert: WebhookAlert, now: datetime) -> bool:
        """Records that it was told, or can't be. False: overtaken, or the webhook is well again."""
        ...

    async def retry_webhook_alert(self, alert: WebhookAlert, due_at: datetime) -> bool:
        """Gives the claim up until `due_at`. False: as `finish_webhook_alert`."""
        ...

    async def wait_for_webhook_alerts(self, now: datetime, longest: timedelta) -> None:
        """Returns when there may be something to tell."""
        ...
