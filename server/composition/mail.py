"""Puts together what makes, signs and sends e-mails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from server.clock import now
from server.config import Settings, SettingsError
from server.worker.mail.addresses import MessageSettingError, parse_sender
from server.worker.mail.alert_messages import AlertMessages
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp_server import SmtpServer, SmtpUrlError

if TYPE_CHECKING:
    from server.worker.mail.dkim import Signer


def mail_settings(
    settings: Settings, clock: Callable[[], datetime] = now
) -> tuple[SmtpServer, MessageBuilder]:
    """Returns whom e-mails are handed to and what makes them; raises SettingsError."""
    try:
        server = SmtpServer.from_url(settings.smtp)
    except SmtpUrlError as error:
        raise SettingsError(f"BILLING_SMTP_URL: {error}") from None
    try:
        return server, MessageBuilder(
            settings.mail_from,
            settings.invitation_link,
            clock,
            settings.brand,
            settings.languages,
            settings.zone,
            settings.bounce_domain,
            settings.templates,
        )
    except MessageSettingError as error:
        raise SettingsError(
            "BILLING_MAIL_FROM, BILLING_INVITATION_URL, BILLING_BRAND_SUPPORT or "
            f"BILLING_MAIL_TEMPLATES: {error}"
        ) from None


def alert_messages(settings: Settings, clock: Callable[[], datetime] = now) -> AlertMessages:
    """Returns what makes e-mails about webhooks; raises SettingsError."""
    try:
        return AlertMessages(
            settings.mail_from,
            clock,
            settings.brand,
            settings.languages,
            settings.zone,
            settings.templates,
        )
    except MessageSettingError as error:
        raise SettingsError(f"BILLING_MAIL_TEMPLATES: {error}") from None


def dkim_signer(settings: Settings) -> Signer | None:
    """Returns what signs e-mails, None without a key; raises SettingsError."""
    if not settings.dkim_keys:
        return None
    # Only here, as in `worker`.
    from server.worker.mail.dkim import DkimSettingError, Signer, read_keys

    try:
        keys = read_keys(settings.dkim_keys, settings.dkim_selectors)
        sender = parse_sender(settings.mail_from)[1]
        return Signer(keys, settings.dkim_domain or sender.rpartition("@")[2])
    except (DkimSettingError, MessageSettingError) as error:
        raise SettingsError(
            f"BILLING_DKIM_KEY, BILLING_DKIM_SELECTOR, BILLING_DKIM_DOMAIN or BILLING_MAIL_FROM: "
            f"{error}"
        ) from None
