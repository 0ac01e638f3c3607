"""`mail preview`: each kind of e-mail as it would be sent, for who changes its templates."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from server.clock import now
from server.composition.mail import alert_messages, mail_settings
from server.config import Settings, SettingsError
from server.domain.contacts import NO_DETAILS, ContactDetails
from server.domain.invitation_options import InvitationOptions
from server.languages import LanguageCode
from server.storage.interface import AlertKind, Delivery, WebhookAlert

_ID = "0" * 17
_TO = "someone@example.com"


class PreviewKind(StrEnum):
    """Which e-mail to show."""

    INVITATION = "invitation"
    RESENT = "resent"
    REMINDER = "reminder"
    # About a webhook that fails: that it will be disabled, and that it is.
    WARNING = "warning"
    DISABLED = "disabled"


class Previewed(NamedTuple):
    """What to show. `language` is "" for all of the settings; `full` shows all that can be in it."""

    kind: PreviewKind = PreviewKind.INVITATION
    reseller: str = "Horns and Hooves"
    customer: str = "Romashka LLC"
    language: str = ""
    full: bool = False


def preview(settings: Settings, wanted: Previewed) -> bytes:
    """Returns an e-mail whose link leads nowhere; raises SettingsError.

    Alerts are in the languages of the settings alone.
    """
    if wanted.language not in ("", *LanguageCode):
        raise SettingsError(f"--language: must be one of {', '.join(LanguageCode)}")
    at = now()
    if wanted.kind in (PreviewKind.WARNING, PreviewKind.DISABLED):
        return alert_messages(settings).alert(_alert(wanted, at), _TO).content
    _, messages = mail_settings(settings)
    return messages.invitation(_delivery(wanted, at, at + settings.invitation_lifetime)).content


def _delivery(wanted: Previewed, at: datetime, expires_at: datetime) -> Delivery:
    options = InvitationOptions(language=wanted.language)
    details = NO_DETAILS
    if wanted.full:
        options = options._replace(
            inviter="Ostap Bender", note="Hello,\n\nas we agreed by telephone on Monday."
        )
        details = ContactDetails(
            "Adam Kozlewicz", "Pushkin street 1, Chernomorsk", "+7 495 1234567"
        )
    return Delivery(
        operation_id=f"bop{_ID}",
        attempt=1,
        lease_until=at,
        cancel_requested=False,
        invitation_id=f"inv{_ID}",
        email=_TO,
        customer_name=wanted.customer,
        reseller_name=wanted.reseller,
        expires_at=expires_at,
        link_token="0" * 36,
        first_operation_id=f"inv{_ID}" if wanted.kind is PreviewKind.RESENT else f"bop{_ID}",
        requested_at=at - timedelta(seconds=1),
        number=0,
        reseller_contact="sales@example.com" if wanted.full else None,
        reseller_details=details,
        options=options,
        bounce_local_part="b-preview",
        is_reminder=wanted.kind is PreviewKind.REMINDER,
    )


def _alert(wanted: Previewed, at: datetime) -> WebhookAlert:
    is_disabled = wanted.kind is PreviewKind.DISABLED
    return WebhookAlert(
        number=0,
        attempt=1,
        lease_until=at,
        requested_at=at,
        kind=AlertKind.DISABLED if is_disabled else AlertKind.WARNING,
        reseller_id=f"bac{_ID}",
        webhook_id=f"whk{_ID}",
        url="https://example.com/webhook",
        description="Orders" if wanted.full else "",
        email=_TO,
        reason="",
        error="HTTP 500",
        disabled_at=at if is_disabled else at + timedelta(days=1),
    )
