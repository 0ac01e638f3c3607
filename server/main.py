"""The composition root: the one place that knows every part of a server process.

Longer than others: each part is named here once, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from billing.v1 import (
    bounce_service_pb2,
    event_service_pb2,
    event_stream_service_pb2,
    invitation_page_service_pb2,
    invitation_service_pb2,
    suppression_service_pb2,
    webhook_service_pb2,
)
from billing.v1 import customer_service_pb2 as billing_customers
from google.longrunning import operations_proto_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as yandex_customers
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.operation import operation_service_pb2

from files.private import close_to_others
from server.bounces.amazon import Topic
from server.bounces.fetch import fetch
from server.bounces.receiver import BounceReceiver
from server.bounces.relay_reports import RelayReports
from server.config import Settings, SettingsError
from server.database_commands import database_errors
from server.domain.links import link_prefix
from server.identity.assertions import Assertions
from server.identity.key_ring import KeyRing, KeyRingError
from server.identity.oidc import OidcIssuer
from server.identity.tokens import Tokens
from server.rpc import grpc_core
from server.rpc.links import Links
from server.rpc.messages.events import event_json
from server.rpc.messages.paging import Pages
from server.rpc.pages.invitation_page import InvitationPageService
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.availability import Availability
from server.rpc.pipeline.caller_address import CallerAddresses
from server.rpc.pipeline.limits import CallLimits
from server.rpc.pipeline.pipeline import Pipeline
from server.rpc.pipeline.rate_limit import RateLimit
from server.rpc.pipeline.router import Router
from server.rpc.services.billing_accounts import BillingAccountService
from server.rpc.services.billing_customers import BillingCustomerService
from server.rpc.services.bounces import BounceService
from server.rpc.services.endpoints import ApiEndpointService
from server.rpc.services.event_streams import EventStreamService
from server.rpc.services.events import EventService
from server.rpc.services.iam_tokens import IamTokenService
from server.rpc.services.invitations import InvitationService
from server.rpc.services.longrunning_operations import LongrunningOperations
from server.rpc.services.standard import Health, add_standard_services
from server.rpc.services.suppressions import SuppressionService
from server.rpc.services.webhooks import WebhookService
from server.rpc.services.yandex_customers import YandexCustomerService
from server.rpc.services.yandex_operations import YandexOperationService
from server.rpc.streams.streams import Streams
from server.storage import open_storage
from server.storage.interface import Storage, WebhookDelivery
from server.use_cases.billing_accounts import BillingAccounts
from server.use_cases.customers import Customers
from server.use_cases.events import Events
from server.use_cases.iam_tokens import IamTokens
from server.use_cases.invitations import Invitations
from server.use_cases.operations import Operations
from server.use_cases.suppressions import Suppressions
from server.use_cases.webhooks import Webhooks
from server.worker.handlers.alert_mail import AlertMail
from server.worker.handlers.invitation_mail import InvitationMail
from server.worker.handlers.reminder_mail import ReminderMail
from server.worker.handlers.sweeps import Sweeper, SweeperSettings
from server.worker.handlers.webhook_deliveries import WebhookDeliveries
from server.worker.mail.addresses import MessageSettingError, parse_sender
from server.worker.mail.alert_messages import AlertMessages
from server.worker.mail.dkim import DkimSettingError, Signer, SigningMailer, read_keys
from server.worker.mail.domain_limits import DomainLimits
from server.worker.mail.mailer import Mailer
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer, SmtpUrlError
from server.worker.retry_policy import RetryPolicy, RetrySchedule
from server.worker.runner import Runner
from server.worker.settings import RunnerSettings
from server.worker.webhooks.cloud_events import CloudEvents
from server.worker.webhooks.sender import Sender
from server.worker.worker import Worker


def now() -> datetime:
    """The service's clock: aware UTC."""
    return datetime.now(UTC)


# The module with its descriptors, its name there, and what answers its calls.
Service = tuple[Any, str, object]


class Served(NamedTuple):
    """A gRPC server, what tells of its health, and its streams, which never end by themselves.

    `availability` has it refuse calls.
    """

    server: grpc.aio.Server
    healthy: Health
    streams: Streams
    availability: Availability

    async def tell_available(self, available: bool) -> None:
        """Says whether the database can be used: to who asks for the health, and to calls."""
        self.availability.set(available)
        await self.healthy.set_all(available)


def build_server(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    monotonic: Callable[[], float] = time.monotonic,
    *,
    credentials_clock: Callable[[], datetime] | None = None,
    around: Callable[[object], object] = lambda servicer: servicer,
    more: Sequence[Service] = (),
) -> Served:
    """Puts the gRPC server together; the caller adds ports and starts it. Raises SettingsError.

    `credentials_clock` is the time that tokens hold by, `clock` unless given. `around` may put
    something around each servicer, and `more` are services beside those of the contract.
    """
    credentials_clock = credentials_clock or clock
    tokens = build_tokens(settings, credentials_clock)
    grpc_core.filter_logs()
    server = grpc.aio.server(
        options=grpc_core.options(settings.max_body_bytes, settings.max_metadata_bytes)
    )
    limits = CallLimits(
        RateLimit(settings.rate_limit),
        settings.max_concurrent_calls,
        settings.max_anonymous_calls,
        settings.max_body_bytes,
        settings.max_streams,
    )
    authenticator = Authenticator(storage.access, tokens, credentials_clock, monotonic)
    addresses = CallerAddresses(settings.proxies)
    availability = Availability()
    pipeline = Pipeline(authenticator, limits, addresses, availability)
    operations = Operations(
        storage.operations, storage.waits, storage.customers, storage.invitations, clock
    )
    pages = Pages(tokens.page_keys)
    use_cases = Customers(
        storage.customers, storage.invitations, clock, settings.invitation_lifetime
    )
    invitations = Invitations(
        storage.invitations,
        storage.customers,
        clock,
        settings.invitation_lifetime,
        settings.resend_interval,
    )
    events = Events(storage.events)
    streams = Streams(events, authenticator)
    suppressions = Suppressions(storage.suppressions, clock)
    wrong_links = RateLimit(settings.unknown_links_per_min / 60, within_s=60)
    links = Links(invitations, suppressions, wrong_links)
    webhooks = Webhooks(storage.webhooks, clock, private_allowed=settings.webhook_allow_private)
    services: list[Service] = [
        (
            invitation_page_service_pb2,
            "InvitationPageService",
            InvitationPageService(links, settings.brand, settings.zone),
        ),
        (yandex_customers, "CustomerService", YandexCustomerService(use_cases, pages)),
        (
            billing_account_service_pb2,
            "BillingAccountService",
            BillingAccountService(
                BillingAccounts(storage.billing_accounts, storage.access, clock),
                *(pages, settings.country, settings.currency),
            ),
        ),
        (
            billing_customers,
            "CustomerService",
            BillingCustomerService(use_cases, operations, pages),
        ),
        (
            invitation_service_pb2,
            "InvitationService",
            InvitationService(invitations, operations, links, pages, _link_prefix(settings)),
        ),
        (event_service_pb2, "EventService", EventService(events, streams, pages)),
        (event_stream_service_pb2, "EventStreamService", EventStreamService(streams)),
        (webhook_service_pb2, "WebhookService", WebhookService(webhooks, pages)),
        (
            suppression_service_pb2,
            "SuppressionService",
            SuppressionService(suppressions, pages),
        ),
        (
            bounce_service_pb2,
            "BounceService",
            BounceService(build_relay_reports(storage, settings, clock, monotonic)),
        ),
        (
            api_endpoint_service_pb2,
            "ApiEndpointService",
            ApiEndpointService(settings.endpoint, settings.local_endpoint),
        ),
        (
            iam_token_service_pb2,
            "IamTokenService",
            IamTokenService(
                IamTokens(
                    *(storage.access, tokens, Assertions(settings.iam_audiences)),
                    credentials_clock,
                )
            ),
        ),
        (operation_service_pb2, "OperationService", YandexOperationService(operations)),
        (
            operations_proto_pb2,
            "Operations",
            LongrunningOperations(operations, authenticator, pages),
        ),
    ]
    router = Router()
    names = []
    for module, name, servicer in (*services, *more):
        service = module.DESCRIPTOR.services_by_name[name]
        names.append(service.full_name)
        router.add(service.full_name, pipeline.handlers(service, around(servicer)))
    healthy = Health()
    add_standard_services(router, healthy, names, limits, addresses)
    server.add_generic_rpc_handlers((router,))
    return Served(server, healthy, streams, availability)


def _link_prefix(settings: Settings) -> str:
    try:
        return link_prefix(settings.invitation_link)
    except ValueError as error:
        raise SettingsError(f"BILLING_INVITATION_URL: {error}") from None


def build_tokens(settings: Settings, clock: Callable[[], datetime] = now) -> Tokens:
    """Returns what makes and checks tokens; raises SettingsError."""
    oidc = None
    if settings.oidc_issuer:
        oidc = OidcIssuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks)
    try:
        ring = KeyRing(settings.iam_keys, clock)
    except KeyRingError as error:
        raise SettingsError(f"BILLING_KEYS: {error}") from None
    close_to_others(settings.iam_keys.parent)
    return Tokens(ring, oidc)


def build_sweeper(
    storage: Storage,
    settings: Settings,
    clock: Callable[[], datetime] = now,
    credentials_clock: Callable[[], datetime] | None = None,
) -> Sweeper:
    """Puts the sweeper together; for `credentials_clock` see `build_server`."""
    every = timedelta(seconds=settings.sweep_interval_s)
    events = timedelta(days=settings.event_retention_d)
    reminders = tuple(int(day) for day in settings.reminders_d.split(",") if day)
    return Sweeper(
        storage.retention,
        clock,
        SweeperSettings(every, settings.operation_retention, events, reminders),
        credentials_now=credentials_clock,
    )


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
        return SigningMailer(smtp, signer) if signer else smtp

    limited = mailer(connections)
    if settings.mail_domain_connections or settings.mail_domain_rate:
        limited = DomainLimits(limited, settings.mail_domain_connections, settings.mail_domain_rate)
    mail = InvitationMail(storage.mail, limited, messages, clock)
    languages = settings.mail_languages.split(",")
    try:
        alert_messages = AlertMessages(
            *(settings.mail_from, clock, settings.brand, languages, settings.zone),
            _templates(settings),
        )
    except MessageSettingError as error:
        raise SettingsError(f"BILLING_MAIL_TEMPLATES: {error}") from None
    alerts = AlertMail(storage.alerts, mailer(_ALERTS.parallel), alert_messages, clock)
    reminders = ReminderMail(storage.reminders, mailer(_REMINDERS.parallel), messages, clock)
    return Worker(
        [
            Runner(mail, clock, _mail_runner_settings(settings)),
            build_deliveries(storage, settings, clock, credentials_clock),
            Runner(alerts, clock, _ALERTS),
            Runner(reminders, clock, _REMINDERS),
        ]
    )


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
    receiver = BounceReceiver(storage.bounces, settings.bounce_domain, clock)
    try:
        await receiver.listen(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError):
        raise SettingsError(
            f"can't listen at {listen}: give host:port that no other program has"
        ) from None
    return receiver


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


# Receivers that take longer than half a second have slots of their own, so that they slow no others.
_DELIVERIES = RunnerSettings(
    parallel=64,
    extra_slots=400,
    slow_after=timedelta(seconds=0.5),
    lease=timedelta(seconds=30),
    attempt_within=timedelta(seconds=20),
    retry=RetrySchedule(),
)
# A reminder that can't be sent for a day is late anyway.
_REMINDERS = RunnerSettings(
    parallel=4, extra_slots=0, retry=RetryPolicy(give_up_after=timedelta(days=1))
)
# An alert that can't be sent for a day is late anyway.
_ALERTS = RunnerSettings(
    parallel=4, extra_slots=0, retry=RetryPolicy(give_up_after=timedelta(days=1))
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
            settings.mail_languages.split(","),
            settings.zone,
            settings.bounce_domain,
            Path(settings.mail_templates).expanduser() if settings.mail_templates else None,
        )
    except MessageSettingError as error:
        raise SettingsError(
            "BILLING_MAIL_FROM, BILLING_INVITATION_URL, BILLING_BRAND_SUPPORT or "
            f"BILLING_MAIL_TEMPLATES: {error}"
        ) from None


def _templates(settings: Settings) -> Path | None:
    return Path(settings.mail_templates).expanduser() if settings.mail_templates else None


def dkim_signer(settings: Settings) -> Signer | None:
    """Returns what signs e-mails, None without a key; raises SettingsError."""
    if not settings.dkim_keys:
        return None
    try:
        keys = read_keys(settings.dkim_keys, settings.dkim_selectors)
        sender = parse_sender(settings.mail_from)[1]
        return Signer(keys, settings.dkim_domain or sender.rpartition("@")[2])
    except (DkimSettingError, MessageSettingError) as error:
        raise SettingsError(
            f"BILLING_DKIM_KEY, BILLING_DKIM_SELECTOR, BILLING_DKIM_DOMAIN or BILLING_MAIL_FROM: "
            f"{error}"
        ) from None


@asynccontextmanager
async def opened_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Opens the storage and closes it at the end; raises SettingsError where it can't be used."""
    close_to_others(settings.var)
    with database_errors():
        storage = await open_storage(
            settings.database,
            idempotency_lifetime=settings.idempotency_lifetime,
            limits=settings.limits,
            pooled=settings.database_pooled,
            listen_url=settings.database_direct_url,
        )
    try:
        yield storage
    finally:
        await storage.close()
