"""What resellers do with their webhooks."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from server.domain.access import Permission, Subject
from server.domain.webhook_settings import (
    MOST_WEBHOOKS,
    WebhookChanges,
    changed,
    check_settings,
    new_secret,
    new_webhook,
    require_revision,
    webhook_limit_reached,
)
from server.domain.webhooks import Webhook
from server.storage.interface import (
    Attempt,
    Cursor,
    IdempotencyKey,
    Listed,
    WebhookStorage,
    WebhookWithSecret,
)


class Webhooks:
    """The use cases. Each raises PERMISSION_MISSING; those that change, IDEMPOTENCY_KEY_REUSED."""

    def __init__(
        self, webhooks: WebhookStorage, clock: Callable[[], datetime], *, private_allowed: bool
    ) -> None:
        """`private_allowed`: URLs may lead to this machine, as for development."""
        self._webhooks = webhooks
        self._clock = clock
        self._private_allowed = private_allowed

    async def create(
        self,
        caller: Subject,
        reseller_id: str,
        settings: WebhookChanges,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> WebhookWithSecret | None:
        """Adds a webhook. None: a key seen before stands for one that is gone.

        Raises FIELDS_INVALID, WEBHOOK_LIMIT_REACHED.
        """
        new = self._new(caller, reseller_id, settings)
        return await self._webhooks.create_webhook(new, new_secret(), caller.actor(request_id), key)

    def check(self, settings: WebhookChanges) -> None:
        """Raises FIELDS_INVALID for what can't be set."""
        check_settings(settings, private_allowed=self._private_allowed)

    async def check_new(
        self, caller: Subject, reseller_id: str, settings: WebhookChanges
    ) -> Webhook:
        """Returns what `create` would add, or raises what it would."""
        new = self._new(caller, reseller_id, settings)
        if (
            len(await self._webhooks.list_webhooks(reseller_id, MOST_WEBHOOKS, None))
            >= MOST_WEBHOOKS
        ):
            raise webhook_limit_reached()
        return new

    def _new(self, caller: Subject, reseller_id: str, settings: WebhookChanges) -> Webhook:
        caller.require(Permission.WRITE, reseller_id)
        self.check(settings)
        return new_webhook(reseller_id, settings, self._clock())

    async def get(self, caller: Subject, reseller_id: str, webhook_id: str) -> Webhook | None:
        """Returns a webhook of the reseller."""
        caller.require(Permission.READ, reseller_id)
        return await self._webhooks.get_webhook(reseller_id, webhook_id)

    async def backlogs(self, webhooks: Iterable[Webhook]) -> dict[str, int]:
        """Returns, by ID, how many events each of what was returned has yet to get."""
        return await self._webhooks.count_backlog([each.id for each in webhooks])

    async def page(
        self, caller: Subject, reseller_id: str, limit: int, after: Cursor | None
    ) -> Sequence[Listed[Webhook]]:
        """Returns at most `limit` webhooks of the reseller, newest first, past the cursor."""
        caller.require(Permission.READ, reseller_id)
        return await self._webhooks.list_webhooks(reseller_id, limit, after)

    async def update(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        revision: int | None,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Webhook | None:
        """Changes a webhook. Raises FIELDS_INVALID, ETAG_STALE."""
        caller.require(Permission.WRITE, reseller_id)
        self.check(changes)
        return await self._webhooks.update_webhook(
            *(reseller_id, webhook_id, changes, revision),
            *(self._clock(), caller.actor(request_id), key),
        )

    async def check_update(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        revision: int | None,
    ) -> Webhook | None:
        """Returns what `update` would make of a webhook, or raises what it would."""
        caller.require(Permission.WRITE, reseller_id)
        self.check(changes)
        found = await self._webhooks.get_webhook(reseller_id, webhook_id)
        if found is None:
            return None
        require_revision(found, revision)
        return changed(found, changes, self._clock())

    async def delete(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        revision: int | None,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> bool:
        """Deletes a webhook; False where there is none. Raises ETAG_STALE."""
        caller.require(Permission.WRITE, reseller_id)
        return await self._webhooks.delete_webhook(
            *(reseller_id, webhook_id, revision),
            *(self._clock(), caller.actor(request_id), key),
        )

    async def rotate_secret(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        overlap: timedelta,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> WebhookWithSecret | None:
        """Gives a webhook a new secret; the old one signs too until the overlap is over."""
        caller.require(Permission.WRITE, reseller_id)
        return await self._webhooks.rotate_secret(
            *(reseller_id, webhook_id, new_secret(), overlap),
            *(self._clock(), caller.actor(request_id), key),
        )

    async def test(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> str | None:
        """Has a webhook sent a test; returns the event's ID. Raises WEBHOOK_STATE."""
        caller.require(Permission.WRITE, reseller_id)
        return await self._webhooks.test_webhook(
            reseller_id, webhook_id, self._clock(), caller.actor(request_id), key
        )

    async def redeliver(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        event: int | None,
        after: int | None,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Webhook | None:
        """Has one event sent again, all after one, or with neither all that are kept; by numbers.

        Raises NOT_FOUND, EVENTS_GONE, WEBHOOK_STATE.
        """
        caller.require(Permission.WRITE, reseller_id)
        return await self._webhooks.redeliver(
            *(reseller_id, webhook_id, event, after),
            *(self._clock(), caller.actor(request_id), key),
        )

    async def attempts(
        self,
        caller: Subject,
        reseller_id: str,
        webhook_id: str,
        limit: int,
        after: Cursor | None,
    ) -> Sequence[Listed[Attempt]] | None:
        """Returns at most `limit` tries to deliver to a webhook, newest first, past the cursor."""
        caller.require(Permission.READ, reseller_id)
        return await self._webhooks.list_attempts(reseller_id, webhook_id, limit, after)
