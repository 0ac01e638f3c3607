"""Puts the gRPC server together.

Longer than others: each service is named here once, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
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
from server.clock import now
from server.composition.bounces import build_relay_reports
from server.config import Settings, SettingsError
from server.domain.links import link_prefix
from server.identity.assertions import Assertions
from server.identity.key_ring import KeyRing, KeyRingError
from server.identity.oidc import OidcIssuer
from server.identity.tokens import Tokens
from server.rpc import grpc_core
from server.rpc.links import Links
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
from server.storage.interface import Storage
from server.use_cases.billing_accounts import BillingAccounts
from server.use_cases.customers import Customers
from server.use_cases.events import Events
from server.use_cases.iam_tokens import IamTokens
from server.use_cases.invitations import Invitations
from server.use_cases.operations import Operations
from server.use_cases.suppressions import Suppressions
from server.use_cases.webhooks import Webhooks

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
    wrap_servicer: Callable[[object], object] = lambda servicer: servicer,
    extra_services: Sequence[Service] = (),
) -> Served:
    """Puts the gRPC server together; the caller adds ports and starts it. Raises SettingsError.

    `credentials_clock` is the time by which tokens hold, `clock` unless given. `wrap_servicer` returns
    what answers in place of a servicer; `extra_services` are those beside the contract's.
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
    streams = Streams(events, authenticator, availability)
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
    for module, name, servicer in (*services, *extra_services):
        service = module.DESCRIPTOR.services_by_name[name]
        names.append(service.full_name)
        router.add(service.full_name, pipeline.handlers(service, wrap_servicer(servicer)))
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
