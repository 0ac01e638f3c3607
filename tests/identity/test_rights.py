"""The whole table of rights, method by method and role by role, through the API."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from billing.v1 import bounce_service_pb2 as bounces
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import event_service_pb2 as events
from billing.v1 import event_stream_service_pb2 as event_streams
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_service_pb2 as invitations
from billing.v1 import suppression_service_pb2 as suppressions
from billing.v1 import webhook_service_pb2 as webhooks
from google.longrunning import operations_pb2, operations_proto_pb2
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from yandex.cloud.billing.v1 import billing_account_service_pb2 as accounts
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoints
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.operation import operation_service_pb2 as operations

from server.config import Settings
from server.domain.access import Actor, Role
from server.domain.invitations import invite
from server.domain.webhook_settings import WebhookChanges, new_secret, new_webhook
from server.storage.interface import Delivery
from tests.events import Happening, happen
from tests.identity.rights import (
    DENIED,
    NOT_FOUND,
    NOWHERE,
    OK,
    UNAUTHENTICATED,
    Made,
    Method,
    Right,
    named,
)
from tests.identity.rights_table import TABLE
from tests.identity.served import RESELLER, Served, bearer, serving
from tests.storage.databases import query

ANOTHER = "reseller-2"
WRITERS = {Role.OWNER, Role.ADMIN, Role.EDITOR}
MANAGERS = {Role.OWNER, Role.ADMIN}

pytestmark = pytest.mark.asyncio(loop_scope="module")


STRANGER, FOREIGNER, ANONYMOUS = "no role", "owner of another reseller", "no token"
CALLERS = [*(role.value for role in Role), STRANGER, FOREIGNER, ANONYMOUS]


def expected(method: Method, caller: str) -> grpc.StatusCode:
    """Returns what the caller is answered about RESELLER's things."""
    if method.right is Right.NOTHING:
        return method.code
    if caller == ANONYMOUS:
        return UNAUTHENTICATED
    if method.right is Right.IDENTITY:
        return OK
    if caller == FOREIGNER and not method.names_thing and not method.names_reseller:
        return OK  # it is about the caller's own
    if caller in (STRANGER, FOREIGNER):
        return DENIED
    permitted = {Right.READ: set(Role), Right.WRITE: WRITERS, Right.MANAGE_ACCESS: MANAGERS}
    return method.code if Role(caller) in permitted[method.right] else DENIED


@dataclass
class Table:
    """A server with a token for each caller."""

    served: Served
    tokens: dict[str, str]
    key: dict[str, str]

    async def made(self) -> Made:
        """Makes what a request can be about."""
        operation = await self.served.customers.CreateResellerServed(
            customers.CreateResellerServedCustomerRequest(
                reseller_id=RESELLER,
                name="A customer",
                person=customers.CustomerPerson(name="A person"),
            ),
            metadata=bearer(self.tokens[Role.OWNER]),
        )
        metadata = customers.CustomerMetadata()
        operation.metadata.Unpack(metadata)
        delivery = await self._sent()
        return Made(
            RESELLER,
            metadata.customer_id,
            operation.id,
            await self.served.token(self.key),
            self.served.assertion(self.key),
            delivery.invitation_id,
            delivery.link_token,
            await self._webhook(),
        )

    async def _webhook(self) -> str:
        """Makes the reseller's one webhook, which has answered its test."""
        storage, now, actor = self.served.storage.webhooks, self.served.clock(), Actor("s")
        for row in await storage.list_webhooks(RESELLER, 100, None):
            await storage.delete_webhook(RESELLER, row.record.id, None, now, actor, None)
        made = new_webhook(RESELLER, WebhookChanges(url="https://example.com/"), now)
        await storage.create_webhook(made, new_secret(), actor, None)
        query(self.served.settings.database, "UPDATE webhooks SET verified_at = 1")
        return made.id

    async def _sent(self) -> Delivery:
        """Sends an invitation as a worker does."""
        storage, now = self.served.storage, self.served.clock()
        new = invite(
            reseller_id=RESELLER,
            name="A customer",
            email=f"{uuid.uuid4()}@example.com",
            person={},
            actor=Actor("s"),
            now=now,
            lifetime=timedelta(days=1),
        )
        await storage.invitations.create_invitation(new, None)
        for delivery in await storage.mail.claim_deliveries(1000, now, timedelta(minutes=1)):
            await storage.mail.finish_delivery(delivery, now)
            if delivery.invitation_id == new.invitation.id:
                return delivery
        raise LookupError("the e-mail was not due")

    async def call(self, name: str, request: Message, caller: str) -> tuple[grpc.StatusCode, str]:
        """Returns the code and the text of the answer."""
        channel = self.served.channel
        make: Any = channel.unary_stream if TABLE[name].streams else channel.unary_unary
        method: Any = make(
            f"/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=TABLE[name].response.FromString,
        )
        token = self.tokens.get(caller)
        call: Any = method(request, metadata=bearer(token) if token else ())
        try:
            if TABLE[name].streams:
                await call.read()
                call.cancel()
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code(), str(error.details())
        return OK, ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Table]:
    settings = Settings(var=tmp_path_factory.mktemp("rights"), rate_limit=0)
    async with serving(settings) as served:
        await served.storage.administration.add_reseller(
            ANOTHER, "Another reseller", served.clock()
        )
        keys = {role.value: await served.account(role) for role in Role}
        keys |= {each: await served.account(None) for each in (STRANGER, FOREIGNER)}
        await served.storage.administration.grant_role(
            keys[FOREIGNER]["service_account_id"], ANOTHER, Role.OWNER, served.clock()
        )
        tokens = {caller: await served.token(key) for caller, key in keys.items()}
        await happen(served.storage, Happening(RESELLER))
        yield Table(served, tokens, await served.account())


async def test_every_method_that_is_served_has_a_row(table: Table) -> None:
    channel: Any = table.served.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="*")])
    answer = await anext(aiter(stub.ServerReflectionInfo(asked)))
    served = {service.name for service in answer.list_services_response.service}
    ours = {name.partition("/")[0] for name in TABLE}
    assert served == ours | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    modules = (
        *(accounts, customers, google_customers, events, event_streams),
        *(bounces, invitations, pages, suppressions, webhooks),
        *(operations, operations_proto_pb2, endpoints, iam),
    )
    methods = {
        f"{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(TABLE)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", TABLE)
async def test_a_method_is_open_to_whom_the_table_says(
    table: Table, name: str, caller: str
) -> None:
    method = TABLE[name]
    code, text = await table.call(name, method.request(await table.made()), caller)
    assert code is expected(method, caller), text


@pytest.mark.parametrize("caller", [each for each in CALLERS if each != ANONYMOUS])
@pytest.mark.parametrize("name", [name for name, method in TABLE.items() if method.names_thing])
async def test_permission_comes_before_existence(table: Table, name: str, caller: str) -> None:
    method = TABLE[name]
    made = await table.made()
    nothing = Made(RESELLER, NOWHERE, NOWHERE, "", "", NOWHERE, "")
    of_existing = await table.call(name, method.request(made), caller)
    of_nothing = await table.call(name, method.request(nothing), caller)
    if caller == FOREIGNER:
        assert of_existing[0] is DENIED
        assert of_nothing[0] is NOT_FOUND
    elif expected(method, caller) is DENIED:
        assert of_nothing == of_existing
    else:
        assert of_nothing[0] is NOT_FOUND


@pytest.mark.parametrize("caller", [STRANGER, FOREIGNER, *Role])
@pytest.mark.parametrize("name", [name for name, method in TABLE.items() if method.names_reseller])
async def test_resellers_that_do_not_exist_are_refused_alike(
    table: Table, name: str, caller: str
) -> None:
    method = TABLE[name]
    made = await table.made()
    unknown = replace(made, reseller_id="no-such-reseller")
    foreign = replace(made, reseller_id=RESELLER if caller == FOREIGNER else ANOTHER)
    refused = await table.call(name, method.request(unknown), caller)
    assert refused[0] is DENIED
    assert refused == await table.call(name, method.request(foreign), caller)


async def test_lists_hold_the_callers_own_alone(table: Table) -> None:
    made = await table.made()
    for caller, seen in ((Role.VIEWER.value, True), (FOREIGNER, False)):
        method = table.served.channel.unary_unary(
            "/google.longrunning.Operations/ListOperations",
            request_serializer=operations_pb2.ListOperationsRequest.SerializeToString,
            response_deserializer=operations_pb2.ListOperationsResponse.FromString,
        )
        request = operations_pb2.ListOperationsRequest(name="operations", page_size=1000)
        answer = await method(request, metadata=bearer(table.tokens[caller]))
        assert (named(made) in {operation.name for operation in answer.operations}) == seen
