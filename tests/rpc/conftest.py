"""The gRPC server in this process, over a real SQLite, without worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from billing.v1 import customer_service_pb2_grpc as google_customers_grpc
from billing.v1 import (
    event_service_pb2_grpc,
    invitation_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from google.longrunning import operations_pb2_grpc
from yandex.cloud.billing.v1 import billing_account_service_pb2_grpc, customer_service_pb2_grpc
from yandex.cloud.operation import operation_service_pb2_grpc

from server.composition.grpc_server import build_server
from server.config import Settings
from server.domain.access import Role, hash_token
from server.rpc.streams.streams import Streams
from server.storage import migrate, open_storage
from server.storage.interface import Storage
from tests.clock import Clock


@dataclass
class Api:
    """A served API. `token` may write for `reseller`; `reader` may read; `stranger` has no role."""

    storage: Storage
    channel: grpc.aio.Channel
    clock: Clock
    address: str
    streams: Streams
    reseller: str = "reseller-1"
    tokens: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def customers(self) -> Any:
        return customer_service_pb2_grpc.CustomerServiceStub(self.channel)

    @property
    def accounts(self) -> Any:
        return billing_account_service_pb2_grpc.BillingAccountServiceStub(self.channel)

    @property
    def google_customers(self) -> Any:
        return google_customers_grpc.CustomerServiceStub(self.channel)

    @property
    def invitations(self) -> Any:
        return invitation_service_pb2_grpc.InvitationServiceStub(self.channel)

    @property
    def events(self) -> Any:
        return event_service_pb2_grpc.EventServiceStub(self.channel)

    @property
    def webhooks(self) -> Any:
        return webhook_service_pb2_grpc.WebhookServiceStub(self.channel)

    @property
    def operations(self) -> Any:
        return operation_service_pb2_grpc.OperationServiceStub(self.channel)

    @property
    def longrunning(self) -> Any:
        return operations_pb2_grpc.OperationsStub(self.channel)

    def as_(self, who: str, **headers: str) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of a caller, with further headers."""
        more = ((name.replace("_", "-"), value) for name, value in headers.items())
        return (("authorization", f"Bearer {who}-token"), *more)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path, rate_limit=0)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with serving(settings) as api:
        yield api


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """Serves the API on a database, with two resellers and the callers of `Api`."""
    clock = Clock()
    migrate(settings.database)
    storage = await open_storage(
        settings.database,
        idempotency_lifetime=settings.idempotency_lifetime,
        limits=settings.limits,
    )
    for reseller in ("reseller-1", "reseller-2"):
        await storage.administration.add_reseller(reseller, "A reseller", clock())
    for who, reseller, role in (
        ("writer", "reseller-1", Role.EDITOR),
        ("reader", "reseller-1", Role.VIEWER),
        ("foreigner", "reseller-2", Role.OWNER),
    ):
        await storage.administration.grant_role(who, reseller, role, clock())
    for who in ("writer", "reader", "foreigner", "nobody"):
        await storage.administration.add_access_token(
            hash_token(f"{who}-token"), who, clock(), None
        )
    server, _, streams, _ = build_server(storage, settings, clock)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Api(storage, channel, clock, f"127.0.0.1:{port}", streams)
    await server.stop(None)
    await storage.close()
