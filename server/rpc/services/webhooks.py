"""billing.v1.WebhookService."""

from billing.v1 import webhook_pb2, webhook_service_pb2
from google.protobuf import empty_pb2

from server.domain.webhook_settings import parse_etag
from server.domain.webhooks import Webhook
from server.rpc.messages import resource_names as names
from server.rpc.messages.paging import Pages, page_size
from server.rpc.messages.webhooks import (
    attempt_to_billing,
    overlap,
    redelivery,
    settings,
    to_billing,
    update_arguments,
    webhook_not_found,
)
from server.rpc.pipeline.call_context import CallContext
from server.rpc.pipeline.call_ids import note_webhook
from server.use_cases.webhooks import Webhooks


class WebhookService:
    """billing.v1.WebhookService over the use cases."""

    def __init__(self, webhooks: Webhooks, pages: Pages) -> None:
        self._webhooks = webhooks
        self._pages = pages
        self.checks = {
            "CreateWebhook": (lambda request: webhooks.check(settings(request.webhook)),),
            "UpdateWebhook": (
                _revision,
                lambda request: webhooks.check(update_arguments(request)),
            ),
        }

    async def CreateWebhook(
        self, request: webhook_service_pb2.CreateWebhookRequest, call: CallContext
    ) -> webhook_pb2.Webhook:
        reseller_id = names.parse_parent(request.parent)
        wanted = settings(request.webhook)
        if request.validate_only:
            checked = to_billing(await self._webhooks.check_new(call.caller, reseller_id, wanted))
            # It has neither.
            checked.ClearField("name")
            checked.ClearField("etag")
            return checked
        made = await self._webhooks.create(
            call.caller, reseller_id, wanted, call.request_id, call.idempotency_key
        )
        if made is None:
            raise webhook_not_found("")
        note_webhook(made[0].id)
        return await self._shown(*made)

    async def GetWebhook(
        self, request: webhook_service_pb2.GetWebhookRequest, call: CallContext
    ) -> webhook_pb2.Webhook:
        place = names.parse_name(request.name, names.WEBHOOKS)
        found = await self._webhooks.get(call.caller, *place)
        return await self._require(found, request.name)

    async def ListWebhooks(
        self, request: webhook_service_pb2.ListWebhooksRequest, call: CallContext
    ) -> webhook_service_pb2.ListWebhooksResponse:
        reseller_id = names.parse_parent(request.parent)
        scope = ("webhooks", reseller_id)
        size = page_size(request.page_size)
        after = self._pages.cursor(request.page_token, *scope)
        rows = await self._webhooks.page(call.caller, reseller_id, size + 1, after)
        backlogs = await self._webhooks.backlogs(row.record for row in rows[:size])
        page, token = await self._pages.page(
            rows, size, scope, lambda row: to_billing(row, backlogs.get(row.id, 0))
        )
        return webhook_service_pb2.ListWebhooksResponse(webhooks=page, next_page_token=token)

    async def UpdateWebhook(
        self, request: webhook_service_pb2.UpdateWebhookRequest, call: CallContext
    ) -> webhook_pb2.Webhook:
        name = request.webhook.name
        place = names.parse_name(name, names.WEBHOOKS, "webhook.name")
        changes = update_arguments(request)
        revision = _revision(request)
        if request.validate_only:
            checked = await self._webhooks.check_update(call.caller, *place, changes, revision)
            return await self._require(checked, name)
        after = await self._webhooks.update(
            call.caller, *place, changes, revision, call.request_id, call.idempotency_key
        )
        return await self._require(after, name)

    async def DeleteWebhook(
        self, request: webhook_service_pb2.DeleteWebhookRequest, call: CallContext
    ) -> empty_pb2.Empty:
        place = names.parse_name(request.name, names.WEBHOOKS)
        revision = parse_etag("etag", request.etag)
        if not await self._webhooks.delete(
            call.caller, *place, revision, call.request_id, call.idempotency_key
        ):
            raise webhook_not_found(request.name)
        return empty_pb2.Empty()

    async def RotateWebhookSecret(
        self, request: webhook_service_pb2.RotateWebhookSecretRequest, call: CallContext
    ) -> webhook_pb2.Webhook:
        place = names.parse_name(request.name, names.WEBHOOKS)
        rotated = await self._webhooks.rotate_secret(
            call.caller, *place, overlap(request), call.request_id, call.idempotency_key
        )
        if rotated is None:
            raise webhook_not_found(request.name)
        return await self._shown(*rotated)

    async def TestWebhook(
        self, request: webhook_service_pb2.TestWebhookRequest, call: CallContext
    ) -> webhook_service_pb2.TestWebhookResponse:
        reseller_id, webhook_id = names.parse_name(request.name, names.WEBHOOKS)
        event_id = await self._webhooks.test(
            call.caller, reseller_id, webhook_id, call.request_id, call.idempotency_key
        )
        if event_id is None:
            raise webhook_not_found(request.name)
        return webhook_service_pb2.TestWebhookResponse(
            event=names.name(reseller_id, names.EVENTS, event_id)
        )

    async def RedeliverEvents(
        self, request: webhook_service_pb2.RedeliverEventsRequest, call: CallContext
    ) -> webhook_pb2.Webhook:
        reseller_id, webhook_id = names.parse_name(request.name, names.WEBHOOKS)
        event, after = redelivery(request, reseller_id)
        found = await self._webhooks.redeliver(
            *(call.caller, reseller_id, webhook_id, event, after),
            *(call.request_id, call.idempotency_key),
        )
        return await self._require(found, request.name)

    async def ListWebhookAttempts(
        self, request: webhook_service_pb2.ListWebhookAttemptsRequest, call: CallContext
    ) -> webhook_service_pb2.ListWebhookAttemptsResponse:
        reseller_id, webhook_id = names.parse_name(request.parent, names.WEBHOOKS, "parent")
        scope = ("attempts", reseller_id, webhook_id)
        size = page_size(request.page_size)
        after = self._pages.cursor(request.page_token, *scope)
        rows = await self._webhooks.attempts(call.caller, reseller_id, webhook_id, size + 1, after)
        if rows is None:
            raise webhook_not_found(request.parent)
        page, token = await self._pages.page(
            rows, size, scope, lambda attempt: attempt_to_billing(reseller_id, attempt)
        )
        return webhook_service_pb2.ListWebhookAttemptsResponse(attempts=page, next_page_token=token)

    async def _require(self, found: Webhook | None, name: str) -> webhook_pb2.Webhook:
        if found is None:
            raise webhook_not_found(name)
        return await self._shown(found)

    async def _shown(self, found: Webhook, secret: str | None = None) -> webhook_pb2.Webhook:
        backlogs = await self._webhooks.backlogs([found])
        return to_billing(found, backlogs.get(found.id, 0), secret)


def _revision(request: webhook_service_pb2.UpdateWebhookRequest) -> int | None:
    return parse_etag("webhook.etag", request.webhook.etag)
