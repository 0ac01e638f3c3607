"""Puts together what takes e-mails that come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from files.listening import why_not
from server.bounces.amazon import Topic
from server.bounces.fetch import fetch
from server.bounces.receiver import BounceReceiver
from server.bounces.relay_reports import RelayReports
from server.clock import now
from server.config import Settings, SettingsError
from server.storage.interface import Storage


def build_relay_reports(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    monotonic: Callable[[], float] = time.monotonic,
) -> RelayReports:
    """Puts together what takes reports of relays by HTTP; raises SettingsError."""
    fetch_url = partial(fetch, proxy=settings.webhook_proxy)
    arn = settings.bounce_sns_topic
    topic = Topic(arn, fetch_url, clock, monotonic) if arn else None
    if (topic or settings.bounce_secret) and not settings.bounce_domain:
        raise SettingsError("BILLING_BOUNCE_DOMAIN: set the domain that e-mails come back to")
    try:
        return RelayReports(
            *(storage.bounces, settings.bounce_domain, clock),
            topic=topic,
            secret=settings.bounce_secret,
        )
    except ValueError:
        raise SettingsError(
            "BILLING_BOUNCE_SECRET: give whsec_ and base64 of 24 bytes or more"
        ) from None


async def start_bounce_receiver(
    storage: Storage, settings: Settings, listen: str, clock: Callable[[], datetime] = now
) -> BounceReceiver:
    """Starts what takes e-mails that come back, at host:port; raises SettingsError."""
    if not settings.bounce_domain:
        raise SettingsError("BILLING_BOUNCE_DOMAIN: set the domain that e-mails come back to")
    host, _, port = listen.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 1 << 16):
        raise SettingsError(f"can't listen at {listen}: give host:port")
    receiver = BounceReceiver(storage.bounces, settings.bounce_domain, clock)
    try:
        await receiver.listen(host.strip("[]"), int(port))
    except (OSError, UnicodeError):
        why = await asyncio.to_thread(why_not, host, int(port))
        raise SettingsError(f"can't listen at {listen}: {why or 'try again'}") from None
    return receiver
