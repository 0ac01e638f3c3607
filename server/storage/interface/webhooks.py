"""Webhooks: kept for resellers, and delivered to by workers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from server.domain.access import Actor
from server.domain.events import Event
from server.domain.webhook_settings import WebhookChanges
from server.domain.webhooks import ContentType, Webhook
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed
from server.storage.interface.work import MAX_DUE_AHEAD


class WebhookWithSecret(NamedTuple):
    """A webhook and the secret that now signs its deliveries."""

    webhook: Webhook
    secret: str


class Attempt(NamedTuple):
    """A try to deliver an event; `status` is the answer's, None without one, and `error` says why."""

    event_id: str
    at: datetime
    took: timedelta
    status: int | None
    error: str
    succeeded: bool
    next_try_at: datetime | None


class WebhookStorage(Protocol):
    """Keeps webhooks, each change with its event. None: the reseller has no such webhook."""

    async def create_webhook(
        self, webhook: Webhook, secret: str, actor: Actor, key: IdempotencyKey | None
    ) -> WebhookWithSecret | None:
        """Records a webhook and, if it is enabled, a `webhook.test` to send to it.

        For a key seen before: the webhook that it stands for, as it now is; None if it is gone.
        Raises WEBHOOK_LIMIT_REACHED, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def get_webhook(self, reseller_id: str, webhook_id: str) -> Webhook | None: ...

    async def count_backlog(self, webhook_ids: Sequence[str]) -> dict[str, int]:
        """Returns, by ID, how many events each has yet to get; counts up to 10,000."""
        ...

    async def list_webhooks(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Webhook]]:
        """Returns at most `limit` webhooks of the reseller, newest first, past the cursor."""
        ...

    async def update_webhook(
        self,
        reseller_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        revision: int | None,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Webhook | None:
        """Changes a webhook, as `webhook_settings.changed` does.

        One that is not verified, and is enabled or has a new URL, is sent a `webhook.test`.
        Raises ETAG_STALE unless `revision`, if given, is the webhook's; IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def delete_webhook(
        self,
        reseller_id: str,
        webhook_id: str,
        revision: int | None,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> bool:
        """Deletes a webhook with all that is still to be sent; False where there is none.

        For a key seen before: True. Raises as `update_webhook`.
        """
        ...

    async def rotate_secret(
        self,
        reseller_id: str,
        webhook_id: str,
        secret: str,
        overlap: timedelta,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> WebhookWithSecret | None:
        """Gives it a new secret; the one before signs too until the overlap is over.

        For a key seen before: the webhook with the secret that it now has.
        Raises IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def test_webhook(
        self,
        reseller_id: str,
        webhook_id: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> str | None:
        """Has a `webhook.test` sent to it alone, at once; returns the event's ID.

        Raises WEBHOOK_STATE for one that is disabled, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def redeliver(
        self,
        reseller_id: str,
        webhook_id: str,
        event: int | None,
        after: int | None,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Webhook | None:
        """Has one event sent again, or all after a number, by the numbers in the log.

        Neither: all that are kept.

        Raises EVENTS_GONE for what is no longer kept, NOT_FOUND for an event that is not there yet,
        WEBHOOK_STATE for a webhook that is disabled or not verified, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def list_attempts(
        self, reseller_id: str, webhook_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Attempt]] | None:
        """Returns at most `limit` tries, newest first, past the cursor."""
        ...


class WebhookDelivery(NamedTuple):
    """An event to post to a webhook, claimed by one worker until `lease_until`.

    `attempt` counts claims, and fences; `tries` those that have failed. `secrets` sign, the newest
    first. `number` and `webhook_number` are the delivery's and the webhook's inside the storage.
    """

    number: int
    attempt: int
    lease_until: datetime
    requested_at: datetime
    tries: int
    webhook_id: str
    webhook_number: int
    url: str
    content_type: ContentType
    secrets: tuple[str, ...]
    event: Event


class DeliveryAttempt(NamedTuple):
    """What became of a try, as `Attempt` has it."""

    at: datetime
    took: timedelta
    status: int | None
    error: str


class DeliveryStorage(Protocol):
    """Gives deliveries to workers. All but `claim` return False where another has overtaken."""

    def look_again(self) -> None:
        """Has the next wait look at all webhooks: they have changed, or the clock was set."""
        ...

    async def claim_webhook_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[WebhookDelivery]:
        """Makes deliveries of new events, and claims those that are due.

        Events of one customer come in their order, one at a time; a webhook that fails gets few at
        once.
        """
        ...

    async def finish_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt,
        paused_until: datetime | None = None,
    ) -> bool:
        """Records success: the next event of its customer is due. `paused_until` as for a retry."""
        ...

    async def retry_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt | None,
        due_at: datetime,
        paused_until: datetime | None = None,
    ) -> bool:
        """Gives the claim up until `due_at`; with `paused_until` nothing is sent to the webhook before.

        `attempt` is the try that failed, if there was one.
        """
        ...

    async def fail_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt,
        paused_until: datetime | None = None,
        *,
        disable: bool = False,
    ) -> bool:
        """Records that its tries are used up: the next event of its customer is due.

        `paused_until` as for a retry. With `disable`, the webhook has asked for no more (410).
        """
        ...

    async def wait_for_webhook_deliveries(self, now: datetime, longest: timedelta) -> bool:
        """Returns when a delivery may be due: True where there is word of new events."""
        ...
