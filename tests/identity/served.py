"""The gRPC server in this process over a real database, with accounts, keys and tokens to try."""

import functools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import (
    billing_account_service_pb2_grpc,
    customer_service_pb2,
    customer_service_pb2_grpc,
)
from yandex.cloud.iam.v1 import iam_token_service_pb2, iam_token_service_pb2_grpc

from server.composition.grpc_server import build_server
from server.config import Settings
from server.domain import ids
from server.domain.access import Role
from server.identity.account_keys import new_account_key
from server.storage import migrate, open_storage
from server.storage.interface import Storage
from tests.clock import Clock

AUDIENCE = "https://iam.localhost:8443/iam/v1/tokens"
RESELLER = "reseller-1"


@dataclass
class Served:
    """A server and the storage under it."""

    storage: Storage
    settings: Settings
    clock: Clock
    channel: grpc.aio.Channel

    @property
    def iam(self) -> Any:
        return iam_token_service_pb2_grpc.IamTokenServiceStub(self.channel)

    @property
    def customers(self) -> Any:
        return customer_service_pb2_grpc.CustomerServiceStub(self.channel)

    async def account(self, role: Role | None = Role.OWNER) -> dict[str, str]:
        """Adds a service account with a role for RESELLER and a key; returns the key's file."""
        account_id = ids.new_id(ids.SERVICE_ACCOUNT)
        await self.storage.administration.add_service_account(
            account_id, "An account", self.clock()
        )
        if role:
            await self.storage.administration.grant_role(account_id, RESELLER, role, self.clock())
        return await self.key(account_id)

    async def key(self, account_id: str) -> dict[str, str]:
        """Adds a key to an account; returns its file."""
        key, content = new_account_key(account_id, self.clock())
        await self.storage.administration.add_account_key(key)
        return content

    def assertion(
        self,
        key: dict[str, str],
        *,
        algorithm: str = "PS256",
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Signs what the SDKs sign; `claims` replace some, None leaves one out."""
        usual = {
            "iss": key["service_account_id"],
            "aud": AUDIENCE,
            "iat": self.clock(),
            "exp": self.clock() + timedelta(hours=1),
        }
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(
            payload,
            private_key(key["private_key"]),
            algorithm,
            {"kid": key["id"], **(headers or {})},
        )

    async def exchange(self, assertion: str) -> Any:
        """Asks for an IAM token."""
        return await self.iam.Create(iam_token_service_pb2.CreateIamTokenRequest(jwt=assertion))

    async def token(self, key: dict[str, str]) -> str:
        """Returns an IAM token of the key's account."""
        return str((await self.exchange(self.assertion(key))).iam_token)

    async def revoke(self, token: str, caller: str) -> Any:
        """Revokes a token as the caller with another one."""
        return await self.iam.Revoke(
            iam_token_service_pb2.RevokeIamTokenRequest(iam_token=token), metadata=bearer(caller)
        )

    async def give_role(self, token: str, account_id: str, action: Any) -> None:
        """Gives a service account a viewer's role, or takes it, as the caller with a token."""
        subject = access_pb2.Subject(id=account_id, type="serviceAccount")
        binding = access_pb2.AccessBinding(role_id=Role.VIEWER, subject=subject)
        delta = access_pb2.AccessBindingDelta(action=action, access_binding=binding)
        stub: Any = billing_account_service_pb2_grpc.BillingAccountServiceStub(self.channel)
        await stub.UpdateAccessBindings(
            access_pb2.UpdateAccessBindingsRequest(
                resource_id=RESELLER, access_binding_deltas=[delta]
            ),
            metadata=bearer(token),
        )

    async def call(self, token: str) -> Any:
        """Makes a call that a viewer may make."""
        return await self.call_with(f"Bearer {token}")

    async def call_with(self, authorization: str) -> Any:
        """Makes the same call with a whole header."""
        return await self.customers.List(
            customer_service_pb2.ListCustomersRequest(reseller_id=RESELLER),
            metadata=(("authorization", authorization), ("x-request-id", "the-same")),
        )

    async def refusal(self, token: str) -> grpc.aio.AioRpcError:
        """Returns the error of a call with a token that must be refused."""
        return await refusal(self.call(token))


async def answer(call: Awaitable[object]) -> grpc.StatusCode:
    """Returns the code that a call is answered with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """Returns the error of a call that must be refused."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call was let through")


@functools.cache
def private_key(pem: str) -> Any:
    """Returns the key; checking it when it is read takes longer than all else here."""
    return serialization.load_pem_private_key(pem.encode(), None)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of a caller."""
    return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def serving(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Served]:
    """Serves over the settings' database, which is made if needed."""
    clock = clock or Clock()
    settings.var.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)
    storage = await open_storage(
        settings.database, idempotency_lifetime=settings.idempotency_lifetime
    )
    try:
        await storage.administration.add_reseller(RESELLER, "A reseller", clock())
        server, *_ = build_server(storage, settings, clock, clock.monotonic)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(storage, settings, clock, channel)
        await server.stop(None)
    finally:
        await storage.close()
