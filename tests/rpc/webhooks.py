"""Calls of billing.v1.WebhookService as an editor, and what became of them in the database."""

import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from billing.v1 import webhook_pb2
from billing.v1 import webhook_service_pb2 as service
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2, status_pb2

from server.config import Settings
from server.storage.schema.codes import EVENT_TYPES, EventTypeCode
from server.storage.schema.columns import Code
from tests.rpc.conftest import Api
from tests.storage.databases import query

PARENT = "resellers/reseller-1"
URL = "https://example.com/hook"
DISABLED = webhook_pb2.Webhook.State.DISABLED
ENABLED = webhook_pb2.Webhook.State.ENABLED

Call = Awaitable[webhook_pb2.Webhook]


@dataclass
class Hooks:
    """A served API and its database, whose log begins with the test."""

    api: Api
    settings: Settings

    def __post_init__(self) -> None:
        for table in ("events", "event_logs"):
            self.query(f"DELETE FROM {table}")

    def create(
        self, url: str = URL, *, key: str = "", validate_only: bool = False, **fields: Any
    ) -> Call:
        wanted = webhook_pb2.Webhook(url=url, **fields)
        body = service.CreateWebhookRequest(
            parent=PARENT, webhook=wanted, validate_only=validate_only
        )
        return cast("Call", self.api.webhooks.CreateWebhook(body, metadata=self._as_writer(key)))

    def get(self, name: str) -> Call:
        body = service.GetWebhookRequest(name=name)
        return cast("Call", self.api.webhooks.GetWebhook(body, metadata=self.api.as_("reader")))

    def update(
        self,
        name: str,
        mask: Sequence[str] = (),
        *,
        key: str = "",
        validate_only: bool = False,
        **fields: Any,
    ) -> Call:
        body = service.UpdateWebhookRequest(
            webhook=webhook_pb2.Webhook(name=name, **fields),
            update_mask=field_mask_pb2.FieldMask(paths=mask) if mask else None,
            validate_only=validate_only,
        )
        return cast("Call", self.api.webhooks.UpdateWebhook(body, metadata=self._as_writer(key)))

    def delete(self, name: str, etag: str = "", *, key: str = "") -> Awaitable[Any]:
        body = service.DeleteWebhookRequest(name=name, etag=etag)
        return cast(
            "Awaitable[Any]",
            self.api.webhooks.DeleteWebhook(body, metadata=self._as_writer(key)),
        )

    def rotate(self, name: str, *, key: str = "", **fields: Any) -> Call:
        body = service.RotateWebhookSecretRequest(name=name, **fields)
        return cast(
            "Call", self.api.webhooks.RotateWebhookSecret(body, metadata=self._as_writer(key))
        )

    def test(self, name: str, *, key: str = "") -> Awaitable[service.TestWebhookResponse]:
        body = service.TestWebhookRequest(name=name)
        return cast(
            "Awaitable[service.TestWebhookResponse]",
            self.api.webhooks.TestWebhook(body, metadata=self._as_writer(key)),
        )

    def redeliver(self, name: str, *, key: str = "", **fields: Any) -> Call:
        body = service.RedeliverEventsRequest(name=name, **fields)
        return cast("Call", self.api.webhooks.RedeliverEvents(body, metadata=self._as_writer(key)))

    def attempts(self, name: str, **fields: Any) -> Awaitable[service.ListWebhookAttemptsResponse]:
        body = service.ListWebhookAttemptsRequest(parent=name, **fields)
        return cast(
            "Awaitable[service.ListWebhookAttemptsResponse]",
            self.api.webhooks.ListWebhookAttempts(body, metadata=self.api.as_("reader")),
        )

    def list(self, **fields: Any) -> Awaitable[service.ListWebhooksResponse]:
        body = service.ListWebhooksRequest(parent=PARENT, **fields)
        return cast(
            "Awaitable[service.ListWebhooksResponse]",
            self.api.webhooks.ListWebhooks(body, metadata=self.api.as_("reader")),
        )

    def query(self, sql: str, **values: Any) -> Sequence[tuple[Any, ...]]:
        """Reads or changes the database."""
        return query(self.settings.database, sql, **values)

    def verify(self, name: str) -> None:
        """Has a webhook answered its test."""
        self.query("UPDATE webhooks SET verified_at = 1 WHERE id = :id", id=name.rpartition("/")[2])
        self.query("DELETE FROM deliveries")

    def logged(self) -> Sequence[str]:
        """Returns the types of the webhooks' events, in order."""
        types = (EVENT_TYPES[EventTypeCode(Code(row[0]))] for row in self._events("type"))
        return [type_ for type_ in types if type_.startswith("webhook.")]

    def logged_data(self) -> Sequence[Any]:
        """Returns what all events show."""
        return [json.loads(row[0]) for row in self._events("data")]

    def _events(self, column: str) -> Sequence[tuple[Any, ...]]:
        return self.query(f"SELECT {column} FROM events ORDER BY number")

    def _as_writer(self, key: str) -> Any:
        return self.api.as_("writer", **({"idempotency_key": key} if key else {}))


def violations(status: status_pb2.Status) -> dict[str, str]:
    """Returns what is wrong with each field that a refusal names."""
    found = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(found)
    return {each.field: each.description for each in found.field_violations}
