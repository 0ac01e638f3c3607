"""What a reseller sets of a webhook: checked as a whole, and what a change makes of it."""

import base64
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from server.domain import ids
from server.domain.errors import (
    BillingError,
    FieldViolation,
    Reason,
    invalid_field,
    invalid_fields,
)
from server.domain.events import EventType
from server.domain.webhooks import ContentType, Webhook, WebhookState, url_fault

MOST_WEBHOOKS = 20
DEFAULT_OVERLAP = timedelta(days=1)
LONGEST_OVERLAP = timedelta(days=7)

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what all secrets begin with, by the specification
_SECRET_BYTES = 32
# What the state of a webhook says that its reseller has disabled.
DISABLED_BY_RESELLER = "Disabled through the API."

_ETAG = re.compile(r'"?(?P<revision>[1-9][0-9]{0,8})"?')
_LONGEST_SHOWN = 50


class WebhookChanges(NamedTuple):
    """What to set; None leaves a field as it is. An `alert_email` of "" takes it away."""

    url: str | None = None
    types: tuple[str, ...] | None = None
    description: str | None = None
    content_type: str | None = None
    alert_email: str | None = None
    enabled: bool | None = None


def check_settings(changes: WebhookChanges, *, private_allowed: bool) -> None:
    """Raises FIELDS_INVALID that names all of what can't be set; see `url_fault`."""
    wrong: list[FieldViolation] = []
    if changes.url is not None:
        fault = (
            url_fault(changes.url, private_allowed=private_allowed) if changes.url else "Required."
        )
        if fault:
            wrong.append(FieldViolation("webhook.url", fault))
    wrong += _wrong_types(changes.types or ())
    if changes.content_type is not None and changes.content_type not in list(ContentType):
        known = " or ".join(ContentType)
        wrong.append(FieldViolation("webhook.content_type", f"Must be {known}, or empty."))
    if wrong:
        raise invalid_fields(*wrong)


def _wrong_types(types: Sequence[str]) -> Iterable[FieldViolation]:
    known = list(EventType)
    for index, type_ in enumerate(types):
        if type_ not in known:
            names = ", ".join(known)
            yield FieldViolation(f"webhook.types[{index}]", f"No such type; there are: {names}.")
    for type_, times in Counter(types).items():
        if times > 1:
            shown = type_ if len(type_) <= _LONGEST_SHOWN else type_[: _LONGEST_SHOWN - 1] + "…"
            yield FieldViolation("webhook.types", f"Must name {shown} once.")


def new_webhook(reseller_id: str, settings: WebhookChanges, now: datetime) -> Webhook:
    """Makes the record of a webhook by settings that have been checked."""
    enabled = settings.enabled is not False
    return Webhook(
        id=ids.new_id(ids.WEBHOOK),
        reseller_id=reseller_id,
        url=settings.url or "",
        types=settings.types or (),
        description=settings.description or "",
        content_type=ContentType(settings.content_type or ContentType.CLOUDEVENTS),
        alert_email=settings.alert_email or None,
        state=WebhookState.ENABLED if enabled else WebhookState.DISABLED,
        disable_reason="" if enabled else DISABLED_BY_RESELLER,
        created_at=now,
        updated_at=now,
    )


def changed(webhook: Webhook, changes: WebhookChanges, now: datetime) -> Webhook:
    """Returns what changes that have been checked make of a webhook; itself if that is nothing."""
    after = webhook._replace(
        url=webhook.url if changes.url is None else changes.url,
        types=webhook.types if changes.types is None else changes.types,
        description=webhook.description if changes.description is None else changes.description,
        content_type=webhook.content_type
        if changes.content_type is None
        else ContentType(changes.content_type),
        alert_email=webhook.alert_email
        if changes.alert_email is None
        else changes.alert_email or None,
    )
    if after.url != webhook.url:
        after = after._replace(verified=False)
    if changes.enabled and webhook.state is WebhookState.DISABLED:
        after = after._replace(state=WebhookState.ENABLED, disable_reason="")
    elif changes.enabled is False and webhook.state is WebhookState.ENABLED:
        after = after._replace(state=WebhookState.DISABLED, disable_reason=DISABLED_BY_RESELLER)
    return webhook if after == webhook else as_changed(after, now)


def as_changed(webhook: Webhook, now: datetime) -> Webhook:
    """Returns the next revision of a webhook."""
    at = max(now, webhook.updated_at)  # clocks differ
    return webhook._replace(updated_at=at, revision=webhook.revision + 1)


def change_types(before: Webhook, after: Webhook) -> list[EventType]:
    """Returns the types of the events that tell of a change."""
    types = []
    same_state = after._replace(state=before.state, disable_reason=before.disable_reason)
    if same_state._replace(updated_at=before.updated_at, revision=before.revision) != before:
        types.append(EventType.WEBHOOK_UPDATED)
    if after.state is not before.state:
        enabled = after.state is WebhookState.ENABLED
        types.append(EventType.WEBHOOK_ENABLED if enabled else EventType.WEBHOOK_DISABLED)
    return types


def new_secret() -> str:
    """Returns a new secret, as the Standard Webhooks specification writes it."""
    return _SECRET_PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def etag(webhook: Webhook) -> str:
    """Returns what names this revision of a webhook."""
    return f'"{webhook.revision}"'


def parse_etag(field: str, written: str) -> int | None:
    """Returns the revision that an etag names, None for an empty one. Raises FIELDS_INVALID."""
    if not written:
        return None
    found = _ETAG.fullmatch(written)
    if not found:
        raise invalid_field(field, "Must be the etag of a webhook, as it was returned, or empty.")
    return int(found["revision"])


def require_revision(webhook: Webhook, revision: int | None) -> None:
    """Raises ETAG_STALE unless a revision, if given, is the webhook's."""
    if revision is not None and revision != webhook.revision:
        raise BillingError(
            Reason.ETAG_STALE,
            "The webhook has changed since it was read; read it again, then send its new etag.",
            metadata={"etag": etag(webhook)},
        )


def require_deliverable(webhook: Webhook, *, verified: bool) -> None:
    """Raises WEBHOOK_STATE for a webhook that nothing can be sent to now.

    `verified`: it must have answered a test, too.
    """
    if webhook.state is WebhookState.DISABLED:
        problem = "The webhook is disabled; enable it first."
    elif verified and not webhook.verified:
        problem = "The webhook has not answered a test with 2xx yet; test it first."
    else:
        return
    raise BillingError(
        Reason.WEBHOOK_STATE,
        problem,
        metadata={"state": webhook.state.name, "disableReason": webhook.disable_reason},
    )


def webhook_limit_reached() -> BillingError:
    """Returns the refusal of a webhook beyond the limit."""
    return BillingError(
        Reason.WEBHOOK_LIMIT_REACHED,
        f"The limit of {MOST_WEBHOOKS} webhooks of one reseller is reached; delete one.",
        metadata={"limit": "WEBHOOKS_PER_RESELLER", "most": str(MOST_WEBHOOKS)},
    )
