"""Puts the worker together: a runner for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from server.clock import now
from server.composition.mail import alert_messages, dkim_signer, mail_settings
from server.config import Settings
from server.rpc.messages.events import event_json
from server.storage.interface import Storage, WebhookDelivery
from server.worker.handlers.alert_mail import AlertMail
from server.worker.handlers.invitation_mail import InvitationMail
from server.worker.handlers.reminder_mail import ReminderMail
from server.worker.handlers.sweeps import Sweeper, SweeperSettings
from server.worker.handlers.webhook_deliveries import WebhookDeliveries
from server.worker.mail.domain_limits import DomainLimits
from server.worker.mail.mailer import Mailer
from server.worker.mail.smtp import SmtpMailer
from server.worker.retry_policy import RetryPolicy, RetrySchedule
from server.worker.runner import Runner
from server.worker.settings import RunnerSettings
from server.worker.webhooks.cloud_events import CloudEvents
from server.worker.webhooks.sender import Sender
from server.worker.worker import Worker

# Receivers that take longer than half a second have slots of their own, so that they slow no others.
_DELIVERIES = RunnerSettings(
    parallel=64,
    extra_slots=400,
    slow_after=timedelta(seconds=0.5),
    lease=timedelta(seconds=30),
    attempt_within=timedelta(seconds=20),
    retry=RetrySchedule(),
)
# Alerts and reminders; one that can't be sent for a day is late anyway.
_FEW = RunnerSettings(parallel=4, extra_slots=0, retry=RetryPolicy(give_up_after=timedelta(days=1)))


def build_worker(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    credentials_clock: Callable[[], datetime] | None = None,
) -> Worker:
    """Puts the worker together: a runner for each kind of work. Raises SettingsError.

    For `credentials_clock` see `build_server`; signatures bear its time.
    """
    server, messages = mail_settings(settings, clock)
    connections = settings.mail_connections + settings.mail_slow_connections
    signer = dkim_signer(settings)

    def mailer(connections: int) -> Mailer:
        smtp = SmtpMailer(server, connections)
        if not signer:
            return smtp
        # Only here: a process without keys starts without dkimpy and its resolver of names.
        from server.worker.mail.dkim import SigningMailer

        return SigningMailer(smtp, signer)

    limited = mailer(connections)
    if settings.mail_domain_connections or settings.mail_domain_rate:
        limited = DomainLimits(limited, settings.mail_domain_connections, settings.mail_domain_rate)
    mail = InvitationMail(storage.mail, limited, messages, clock)
    alerts = AlertMail(
        storage.alerts, mailer(_FEW.parallel), alert_messages(settings, clock), clock
    )
    reminders = ReminderMail(storage.reminders, mailer(_FEW.parallel), messages, clock)
    return Worker(
        [
            Runner(mail, clock, _mail_runner_settings(settings)),
            build_deliveries(storage, settings, clock, credentials_clock),
            Runner(alerts, clock, _FEW),
            Runner(reminders, clock, _FEW),
        ]
    )


def build_deliveries(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    signing_clock: Callable[[], datetime] | None = None,
) -> Runner[WebhookDelivery]:
    """Puts together what delivers to webhooks; signatures bear the time of `signing_clock`."""
    sender = Sender(private_allowed=settings.webhook_allow_private, proxy=settings.webhook_proxy)
    bodies = CloudEvents(settings.public_address, event_json)
    handler = WebhookDeliveries(storage.deliveries, sender, bodies, clock, signing_clock)
    return Runner(handler, clock, _DELIVERIES)


def build_sweeper(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    credentials_clock: Callable[[], datetime] | None = None,
) -> Sweeper:
    """Puts the sweeper together; for `credentials_clock` see `build_server`."""
    every = timedelta(seconds=settings.sweep_interval_s)
    events = timedelta(days=settings.event_retention_d)
    return Sweeper(
        storage.retention,
        clock,
        SweeperSettings(every, settings.operation_retention, events, settings.reminder_days),
        credentials_now=credentials_clock,
    )


def _mail_runner_settings(settings: Settings) -> RunnerSettings:
    return RunnerSettings(
        parallel=settings.mail_connections,
        extra_slots=settings.mail_slow_connections,
        lease=timedelta(seconds=settings.mail_lease_s),
        attempt_within=timedelta(seconds=settings.mail_lease_s * 0.8),
        retry=RetryPolicy(
            first=timedelta(seconds=settings.mail_first_retry_s),
            longest=timedelta(seconds=settings.mail_longest_retry_s),
            give_up_after=timedelta(hours=settings.mail_give_up_after_h),
        ),
    )
