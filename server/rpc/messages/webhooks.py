"""Webhook records as messages, and requests about them as arguments."""

from collections.abc import Collection
from datetime import timedelta

from billing.v1 import webhook_pb2, webhook_service_pb2

from server.domain.errors import BillingError, Reason, Resource, invalid_field
from server.domain.events import event_number
from server.domain.webhook_settings import DEFAULT_OVERLAP, LONGEST_OVERLAP, WebhookChanges, etag
from server.domain.webhooks import ContentType, Webhook
from server.rpc.formats.addresses import normal_address
from server.rpc.messages import resource_names as names
from server.rpc.messages.durations import read_duration
from server.rpc.messages.masks import ALL, read_mask
from server.rpc.messages.timestamps import set_timestamp
from server.storage.interface import Attempt

_State = webhook_pb2.Webhook.State
_SETTABLE = ("url", "types", "description", "content_type", "alert_email", "state")


def to_billing(
    webhook: Webhook, backlog: int = 0, secret: str | None = None
) -> webhook_pb2.Webhook:
    """Returns the record as billing.v1.Webhook, with its secret if that is given."""
    message = webhook_pb2.Webhook(
        name=names.name(webhook.reseller_id, names.WEBHOOKS, webhook.id),
        url=webhook.url,
        types=webhook.types,
        description=webhook.description,
        content_type=webhook.content_type,
        alert_email=webhook.alert_email or "",
        state=_State.Value(webhook.state.name),
        disable_reason=webhook.disable_reason,
        secret=secret,
        backlog=backlog,
        etag=etag(webhook),
    )
    set_timestamp(message.create_time, webhook.created_at)
    set_timestamp(message.update_time, webhook.updated_at)
    if webhook.last_success_at:
        set_timestamp(message.last_success_time, webhook.last_success_at)
    return message


def attempt_to_billing(reseller_id: str, attempt: Attempt) -> webhook_pb2.WebhookAttempt:
    """Returns the record as billing.v1.WebhookAttempt."""
    message = webhook_pb2.WebhookAttempt(
        event=names.name(reseller_id, names.EVENTS, attempt.event_id),
        status=attempt.status or 0,
        error=attempt.error,
        milliseconds=attempt.took // timedelta(milliseconds=1),
    )
    set_timestamp(message.time, attempt.at)
    if attempt.next_try_at:
        set_timestamp(message.next_try_time, attempt.next_try_at)
    return message


def webhook_not_found(name: str) -> BillingError:
    """Returns the refusal of a webhook's name."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such webhook; check its name.",
        resource=Resource("billing.v1.Webhook", name[:100]),
    )


def settings(message: webhook_pb2.Webhook) -> WebhookChanges:
    """Returns what a webhook to add says. Raises FIELDS_INVALID."""
    return _changes(message, _SETTABLE)


def update_arguments(
    request: webhook_service_pb2.UpdateWebhookRequest,
) -> WebhookChanges:
    """Returns what a request to change a webhook says. Raises FIELDS_INVALID.

    Without a mask what is not empty is set; what the service alone sets is then passed over.
    """
    message = request.webhook
    paths = read_mask(request.update_mask, message.DESCRIPTOR, _SETTABLE)
    if not paths:
        filled = {field.name for field, _ in message.ListFields()}
        return _changes(message, filled.intersection(_SETTABLE))
    if paths == [ALL]:
        return _changes(message, _SETTABLE)
    fields = {path.field for path in paths}
    if "state" in fields and not message.state:
        raise invalid_field("webhook.state", "Must be ENABLED or DISABLED.")
    return _changes(message, fields)


def _changes(message: webhook_pb2.Webhook, fields: Collection[str]) -> WebhookChanges:
    changes = WebhookChanges()
    if "url" in fields:
        changes = changes._replace(url=message.url)
    if "types" in fields:
        changes = changes._replace(types=tuple(message.types))
    if "description" in fields:
        changes = changes._replace(description=message.description)
    if "content_type" in fields:
        changes = changes._replace(content_type=message.content_type or ContentType.CLOUDEVENTS)
    if "alert_email" in fields:
        email = message.alert_email
        changes = changes._replace(alert_email=normal_address(email) if email else "")
    if "state" in fields and message.state:
        if message.state not in (_State.ENABLED, _State.DISABLED):
            raise invalid_field("webhook.state", "Must be ENABLED or DISABLED.")
        changes = changes._replace(enabled=message.state == _State.ENABLED)
    return changes


def overlap(request: webhook_service_pb2.RotateWebhookSecretRequest) -> timedelta:
    """Returns how long the old secret is to sign too. Raises FIELDS_INVALID."""
    if not request.HasField("overlap"):
        return DEFAULT_OVERLAP
    try:
        return read_duration(request.overlap, timedelta(), LONGEST_OVERLAP)
    except ValueError as error:
        raise invalid_field("overlap", str(error)) from None


def redelivery(
    request: webhook_service_pb2.RedeliverEventsRequest, reseller_id: str
) -> tuple[int | None, int | None]:
    """Returns the numbers of the one event and of that after which all are to be sent again.

    Both are None for all that are kept. Raises FIELDS_INVALID.
    """
    wanted = request.WhichOneof("events")
    if wanted == "event":
        return _number("event", request.event, reseller_id), None
    if wanted == "after":
        return None, _number("after", request.after, reseller_id) if request.after else None
    raise invalid_field(
        "event", "Required, or after: name one event, or the one after which all are to be sent."
    )


def _number(field: str, written: str, reseller_id: str) -> int:
    number = event_number(reseller_id, names.bare_id(written, reseller_id, names.EVENTS))
    if number is None or (field == "event" and number == 0):
        raise invalid_field(field, "Must be the ID of an event of this reseller, or its name.")
    return number
