"""The webhooks' part of the storage."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from server.domain.access import Actor
from server.domain.errors import BillingError
from server.domain.events import event_id
from server.domain.webhook_settings import WebhookChanges
from server.domain.webhooks import Webhook
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed
from server.storage.interface.webhooks import Attempt, WebhookWithSecret
from server.storage.keys import KeyLifetime
from server.storage.schema.tables import WebhookNumber
from server.storage.sql.batches import Batcher
from server.storage.sql.inline_reads import InlineReads
from server.storage.sql.times import Micros, micros
from server.storage.webhooks.batch import About
from server.storage.webhooks.changes import (
    ATTEMPTS_AT_ONCE,
    Deletion,
    Rotation,
    Update,
    clear_attempts,
    delete_webhooks,
    rotate_secrets,
    update_webhooks,
)
from server.storage.webhooks.create import Creation, create_webhooks
from server.storage.webhooks.read import (
    Page,
    WebhookName,
    count_backlogs,
    get_webhooks,
    list_attempts,
    list_webhooks,
)
from server.storage.webhooks.sends import Redelivery, Test, redeliver_events, test_webhooks

# Transactions that a call to delete spends on attempts; what is left goes when it is old.
_MOST_CLEARINGS = 20


class SqlWebhooks:
    """Implements `interface.WebhookStorage`."""

    def __init__(
        self,
        writes: Batcher,
        sweeps: Batcher,
        reads: Batcher,
        inline: InlineReads,
        keys: KeyLifetime,
    ) -> None:
        self._writes = writes
        self._sweeps = sweeps
        self._reads = reads
        self._inline = inline
        self._keys = keys

    def _about(
        self,
        reseller_id: str,
        webhook_id: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> About:
        return About(reseller_id, webhook_id, micros(now), actor, self._keys.keyed(key, now))

    async def create_webhook(
        self, webhook: Webhook, secret: str, actor: Actor, key: IdempotencyKey | None
    ) -> WebhookWithSecret | None:
        about = self._about(webhook.reseller_id, webhook.id, webhook.created_at, actor, key)
        return await self._writes.submit(create_webhooks, Creation(webhook, secret, about))

    async def get_webhook(self, reseller_id: str, webhook_id: str) -> Webhook | None:
        return await self._inline.read(get_webhooks, WebhookName(reseller_id, webhook_id))

    async def count_backlog(self, webhook_ids: Sequence[str]) -> dict[str, int]:
        return await self._reads.submit(count_backlogs, webhook_ids)

    async def list_webhooks(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Webhook]]:
        return await self._reads.submit(
            list_webhooks, Page(WebhookName(reseller_id, ""), limit, after)
        )

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
        about = self._about(reseller_id, webhook_id, now, actor, key)
        return await self._writes.submit(update_webhooks, Update(changes, revision, about))

    async def delete_webhook(
        self,
        reseller_id: str,
        webhook_id: str,
        revision: int | None,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> bool:
        about = self._about(reseller_id, webhook_id, now, actor, key)
        deleted = await self._writes.submit(delete_webhooks, Deletion(revision, about))
        if deleted is None:
            return False
        if deleted.number is not None:
            await self._clear_attempts(deleted.number)
        return deleted.found

    async def _clear_attempts(self, number: WebhookNumber) -> None:
        """Clears attempts of a deleted webhook, a few at a time; nobody can read them any more."""
        try:
            for _ in range(_MOST_CLEARINGS):
                if await self._sweeps.submit(clear_attempts, number) < ATTEMPTS_AT_ONCE:
                    return
        except BillingError:
            return  # the webhook is deleted all the same

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
        about = self._about(reseller_id, webhook_id, now, actor, key)
        overlap_us = Micros(overlap // overlap.resolution)
        return await self._writes.submit(rotate_secrets, Rotation(secret, overlap_us, about))

    async def test_webhook(
        self,
        reseller_id: str,
        webhook_id: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> str | None:
        about = self._about(reseller_id, webhook_id, now, actor, key)
        sent = await self._writes.submit(test_webhooks, Test(about))
        return event_id(reseller_id, sent.number) if sent else None

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
        about = self._about(reseller_id, webhook_id, now, actor, key)
        return await self._writes.submit(redeliver_events, Redelivery(event, after, about))

    async def list_attempts(
        self, reseller_id: str, webhook_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Attempt]] | None:
        page = Page(WebhookName(reseller_id, webhook_id), limit, after)
        return await self._reads.submit(list_attempts, page)
