"""The whole table of rights, method by method and role by role, through the API."""

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any

import grpc
import pytest
import pytest_asyncio
from billing.v1 import bounce_service_pb2 as bounces
from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import event_pb2, invitation_pb2, webhook_pb2
from billing.v1 import event_service_pb2 as events
from billing.v1 import event_stream_service_pb2 as event_streams
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_service_pb2 as invitations
from billing.v1 import suppression_service_pb2 as suppressions
from billing.v1 import webhook_service_pb2 as webhooks
from google.api import httpbody_pb2
from google.longrunning import operations_pb2, operations_proto_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2 as accounts
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.endpoint import api_endpoint_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoints
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.operation import operation_pb2
from yandex.cloud.operation import operation_service_pb2 as operations

from server.config import Settings
from server.domain.access import Actor, Role
from server.domain.events import event_id
from server.domain.invitations import invite
from server.domain.webhook_settings import WebhookChanges, new_secret, new_webhook
from server.storage.interface import Delivery
from tests.events import Happening, happen
from tests.identity.served import RESELLER, Served, bearer, serving
from tests.inviting import in_our_words
from tests.storage.databases import query

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED

ANOTHER = "reseller-2"
WRITERS = {Role.OWNER, Role.ADMIN, Role.EDITOR}
MANAGERS = {Role.OWNER, Role.ADMIN}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Right(Enum):
    """What a method asks of its caller."""

    MANAGE_ACCESS = "a role that may give roles"
    WRITE = "a role that may change"
    READ = "any role"
    IDENTITY = "a valid token"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Made:
    """What a request can be about, made for it alone.

    A customer, an operation that is done, and an invitation that has gone out, with its link.
    """

    reseller_id: str
    customer_id: str
    operation_id: str
    token: str
    assertion: str
    invitation_id: str
    link_token: str
    webhook_id: str = "whk00000000000000000"


NOWHERE = "bop00000000000000000"
Request = Callable[[Made], Message]


@dataclass(frozen=True)
class Method:
    """A row of the table.

    `names_thing`: the request names a customer or operation by its ID; `names_reseller`: a reseller.
    `streams`: it answers with a stream of messages, of which the first is looked at. `code` is what
    those are answered who may.
    """

    right: Right
    request: Request
    response: type[Message]
    names_thing: bool = False
    names_reseller: bool = False
    streams: bool = False
    code: grpc.StatusCode = grpc.StatusCode.OK


def invite_fields(made: Made) -> dict[str, Any]:
    return {
        "reseller_id": made.reseller_id,
        "name": "A customer",
        "invitation_email": f"{made.customer_id}@example.com",
        "person": {"name": "A person"},
    }


def named(made: Made) -> str:
    return f"operations/{made.operation_id}"


def named_invitation(made: Made) -> dict[str, str]:
    return {"name": f"resellers/{made.reseller_id}/invitations/{made.invitation_id}"}


def named_webhook(made: Made) -> dict[str, Any]:
    return {"name": f"resellers/{made.reseller_id}/webhooks/{made.webhook_id}"}


_CUSTOMERS = "yandex.cloud.billing.v1.CustomerService"
_ACCOUNTS = "yandex.cloud.billing.v1.BillingAccountService"
_GOOGLE_CUSTOMERS = "billing.v1.CustomerService"
_EVENTS = "billing.v1.EventService"
_EVENT_STREAMS = "billing.v1.EventStreamService"
_INVITATIONS = "billing.v1.InvitationService"
_BOUNCES = "billing.v1.BounceService"
_PAGES = "billing.v1.InvitationPageService"
_SUPPRESSIONS = "billing.v1.SuppressionService"
_WEBHOOKS = "billing.v1.WebhookService"
_OPERATIONS = "yandex.cloud.operation.OperationService"
_LONGRUNNING = "google.longrunning.Operations"
_ENDPOINTS = "yandex.cloud.endpoint.ApiEndpointService"
_IAM = "yandex.cloud.iam.v1.IamTokenService"


def customer_name(made: Made) -> str:
    return f"resellers/{made.reseller_id}/customers/{made.customer_id}"


def account_of(made: Made) -> str:
    """Returns the reseller's own billing account, or one that is not there."""
    return NOWHERE if made.customer_id == NOWHERE else made.reseller_id


TABLE: dict[str, Method] = {
    f"{_CUSTOMERS}/Invite": Method(
        Right.WRITE,
        lambda made: customers.InviteCustomerRequest(**invite_fields(made)),
        operation_pb2.Operation,
        names_reseller=True,
    ),
    f"{_CUSTOMERS}/CreateResellerServed": Method(
        Right.WRITE,
        lambda made: customers.CreateResellerServedCustomerRequest(
            reseller_id=made.reseller_id,
            name="A customer",
            person=customers.CustomerPerson(name="A person"),
        ),
        operation_pb2.Operation,
        names_reseller=True,
    ),
    f"{_CUSTOMERS}/Activate": Method(
        Right.WRITE,
        lambda made: customers.ActivateCustomerRequest(customer_id=made.customer_id),
        operation_pb2.Operation,
        names_thing=True,
    ),
    f"{_CUSTOMERS}/Suspend": Method(
        Right.WRITE,
        lambda made: customers.SuspendCustomerRequest(customer_id=made.customer_id),
        operation_pb2.Operation,
        names_thing=True,
    ),
    f"{_CUSTOMERS}/List": Method(
        Right.READ,
        lambda made: customers.ListCustomersRequest(reseller_id=made.reseller_id),
        customers.ListCustomersResponse,
        names_reseller=True,
    ),
    f"{_ACCOUNTS}/Get": Method(
        Right.READ,
        lambda made: accounts.GetBillingAccountRequest(
            id=made.customer_id.replace("bcu", "bac", 1)
        ),
        billing_account_pb2.BillingAccount,
        names_thing=True,
    ),
    f"{_ACCOUNTS}/List": Method(
        Right.READ,
        lambda _: accounts.ListBillingAccountsRequest(),
        accounts.ListBillingAccountsResponse,
    ),
    f"{_ACCOUNTS}/ListAccessBindings": Method(
        Right.READ,
        lambda made: access_pb2.ListAccessBindingsRequest(resource_id=account_of(made)),
        access_pb2.ListAccessBindingsResponse,
        names_thing=True,
    ),
    f"{_ACCOUNTS}/UpdateAccessBindings": Method(
        Right.MANAGE_ACCESS,
        lambda made: access_pb2.UpdateAccessBindingsRequest(
            resource_id=account_of(made),
            access_binding_deltas=[
                access_pb2.AccessBindingDelta(
                    action=access_pb2.ADD,
                    access_binding=access_pb2.AccessBinding(
                        role_id=Role.VIEWER,
                        subject=access_pb2.Subject(id="somebody", type="userAccount"),
                    ),
                )
            ],
        ),
        operation_pb2.Operation,
        names_thing=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/InviteCustomer": Method(
        Right.WRITE,
        lambda made: in_our_words(customers.InviteCustomerRequest(**invite_fields(made))),
        operations_pb2.Operation,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/GetCustomer": Method(
        Right.READ,
        lambda made: google_customers.GetCustomerRequest(
            name=f"resellers/{made.reseller_id}/customers/{made.customer_id}"
        ),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/ListCustomers": Method(
        Right.READ,
        lambda made: google_customers.ListCustomersRequest(parent=f"resellers/{made.reseller_id}"),
        google_customers.ListCustomersResponse,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/CreateCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.CreateCustomerRequest(
            parent=f"resellers/{made.reseller_id}",
            customer=google_customer.Customer(display_name="A customer"),
        ),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/UpdateCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.UpdateCustomerRequest(
            customer=google_customer.Customer(
                name=f"resellers/{made.reseller_id}/customers/{made.customer_id}",
                display_name="Changed",
            )
        ),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/SuspendCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.SuspendCustomerRequest(name=customer_name(made)),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/ActivateCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.ActivateCustomerRequest(name=customer_name(made)),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/DeleteCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.DeleteCustomerRequest(name=customer_name(made)),
        google_customer.Customer,
        names_reseller=True,
    ),
    f"{_GOOGLE_CUSTOMERS}/UndeleteCustomer": Method(
        Right.WRITE,
        lambda made: google_customers.UndeleteCustomerRequest(name=customer_name(made)),
        google_customer.Customer,
        names_reseller=True,
        code=grpc.StatusCode.ALREADY_EXISTS,
    ),
    f"{_EVENTS}/GetEvent": Method(
        Right.READ,
        lambda made: events.GetEventRequest(
            name=f"resellers/{made.reseller_id}/events/{event_id(made.reseller_id, 1)}"
        ),
        event_pb2.Event,
        names_reseller=True,
    ),
    f"{_EVENTS}/ListEvents": Method(
        Right.READ,
        lambda made: events.ListEventsRequest(parent=f"resellers/{made.reseller_id}"),
        events.ListEventsResponse,
        names_reseller=True,
    ),
    f"{_EVENTS}/WatchEvents": Method(
        Right.READ,
        lambda made: events.WatchEventsRequest(parent=f"resellers/{made.reseller_id}"),
        events.WatchEventsResponse,
        names_reseller=True,
        streams=True,
    ),
    f"{_EVENT_STREAMS}/WatchEvents": Method(
        Right.READ,
        lambda made: events.WatchEventsRequest(parent=f"resellers/{made.reseller_id}"),
        httpbody_pb2.HttpBody,
        names_reseller=True,
        streams=True,
    ),
    f"{_INVITATIONS}/GetInvitation": Method(
        Right.READ,
        lambda made: invitations.GetInvitationRequest(**named_invitation(made)),
        invitation_pb2.Invitation,
        names_reseller=True,
    ),
    f"{_INVITATIONS}/ListInvitations": Method(
        Right.READ,
        lambda made: invitations.ListInvitationsRequest(parent=f"resellers/{made.reseller_id}"),
        invitations.ListInvitationsResponse,
        names_reseller=True,
    ),
    f"{_INVITATIONS}/ResendInvitation": Method(
        Right.WRITE,
        lambda made: invitations.ResendInvitationRequest(name=named_invitation(made)["name"]),
        operations_pb2.Operation,
        names_reseller=True,
    ),
    f"{_INVITATIONS}/UpdateInvitation": Method(
        Right.WRITE,
        lambda made: invitations.UpdateInvitationRequest(
            invitation=invitation_pb2.Invitation(
                name=named_invitation(made)["name"], email=f"{uuid.uuid4()}@example.com"
            )
        ),
        invitation_pb2.Invitation,
        names_reseller=True,
    ),
    f"{_INVITATIONS}/CreateInvitationLink": Method(
        Right.WRITE,
        lambda made: invitations.CreateInvitationLinkRequest(**named_invitation(made)),
        invitations.CreateInvitationLinkResponse,
        names_reseller=True,
    ),
    f"{_INVITATIONS}/RevokeInvitation": Method(
        Right.WRITE,
        lambda made: invitations.RevokeInvitationRequest(**named_invitation(made)),
        invitation_pb2.Invitation,
        names_reseller=True,
    ),
    f"{_SUPPRESSIONS}/ListSuppressions": Method(
        Right.READ,
        lambda made: suppressions.ListSuppressionsRequest(parent=f"resellers/{made.reseller_id}"),
        suppressions.ListSuppressionsResponse,
        names_reseller=True,
    ),
    f"{_SUPPRESSIONS}/DeleteSuppression": Method(
        Right.WRITE,
        lambda made: suppressions.DeleteSuppressionRequest(
            name=f"resellers/{made.reseller_id}/suppressions/sup00000000000000000"
        ),
        empty_pb2.Empty,
        names_reseller=True,
        code=NOT_FOUND,
    ),
    f"{_WEBHOOKS}/CreateWebhook": Method(
        Right.WRITE,
        lambda made: webhooks.CreateWebhookRequest(
            parent=f"resellers/{made.reseller_id}",
            webhook=webhook_pb2.Webhook(url="https://example.com/"),
        ),
        webhook_pb2.Webhook,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/GetWebhook": Method(
        Right.READ,
        lambda made: webhooks.GetWebhookRequest(**named_webhook(made)),
        webhook_pb2.Webhook,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/ListWebhooks": Method(
        Right.READ,
        lambda made: webhooks.ListWebhooksRequest(parent=f"resellers/{made.reseller_id}"),
        webhooks.ListWebhooksResponse,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/UpdateWebhook": Method(
        Right.WRITE,
        lambda made: webhooks.UpdateWebhookRequest(
            webhook=webhook_pb2.Webhook(description="Changed", **named_webhook(made))
        ),
        webhook_pb2.Webhook,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/DeleteWebhook": Method(
        Right.WRITE,
        lambda made: webhooks.DeleteWebhookRequest(**named_webhook(made)),
        empty_pb2.Empty,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/RotateWebhookSecret": Method(
        Right.WRITE,
        lambda made: webhooks.RotateWebhookSecretRequest(**named_webhook(made)),
        webhook_pb2.Webhook,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/TestWebhook": Method(
        Right.WRITE,
        lambda made: webhooks.TestWebhookRequest(**named_webhook(made)),
        webhooks.TestWebhookResponse,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/RedeliverEvents": Method(
        Right.WRITE,
        lambda made: webhooks.RedeliverEventsRequest(after="", **named_webhook(made)),
        webhook_pb2.Webhook,
        names_reseller=True,
    ),
    f"{_WEBHOOKS}/ListWebhookAttempts": Method(
        Right.READ,
        lambda made: webhooks.ListWebhookAttemptsRequest(parent=named_webhook(made)["name"]),
        webhooks.ListWebhookAttemptsResponse,
        names_reseller=True,
    ),
    # Who holds a link's secret may; a page says so to all others.
    f"{_INVITATIONS}/AcceptInvitation": Method(
        Right.NOTHING,
        lambda made: invitations.AcceptInvitationRequest(token=made.link_token),
        invitation_pb2.Invitation,
    ),
    f"{_INVITATIONS}/DeclineInvitation": Method(
        Right.NOTHING,
        lambda made: invitations.DeclineInvitationRequest(token=made.link_token),
        invitation_pb2.Invitation,
    ),
    f"{_PAGES}/GetInvitationPage": Method(
        Right.NOTHING,
        lambda _: pages.GetInvitationPageRequest(token="unknown"),
        httpbody_pb2.HttpBody,
    ),
    f"{_PAGES}/AnswerInvitationPage": Method(
        Right.NOTHING,
        lambda _: pages.AnswerInvitationPageRequest(
            token="unknown", form=httpbody_pb2.HttpBody(data=b"answer=accept")
        ),
        httpbody_pb2.HttpBody,
    ),
    # Relays prove themselves by what they sign; here none may report.
    f"{_BOUNCES}/ReportBounce": Method(
        Right.NOTHING,
        lambda _: bounces.ReportBounceRequest(report=httpbody_pb2.HttpBody(data=b"{}")),
        empty_pb2.Empty,
        code=UNAUTHENTICATED,
    ),
    f"{_OPERATIONS}/Get": Method(
        Right.READ,
        lambda made: operations.GetOperationRequest(operation_id=made.operation_id),
        operation_pb2.Operation,
        names_thing=True,
    ),
    f"{_OPERATIONS}/Cancel": Method(
        Right.WRITE,
        lambda made: operations.CancelOperationRequest(operation_id=made.operation_id),
        operation_pb2.Operation,
        names_thing=True,
    ),
    f"{_LONGRUNNING}/GetOperation": Method(
        Right.READ,
        lambda made: operations_pb2.GetOperationRequest(name=named(made)),
        operations_pb2.Operation,
        names_thing=True,
    ),
    f"{_LONGRUNNING}/ListOperations": Method(
        Right.READ,
        lambda _: operations_pb2.ListOperationsRequest(name="operations"),
        operations_pb2.ListOperationsResponse,
    ),
    f"{_LONGRUNNING}/WaitOperation": Method(
        Right.READ,
        lambda made: operations_pb2.WaitOperationRequest(name=named(made)),
        operations_pb2.Operation,
        names_thing=True,
    ),
    f"{_LONGRUNNING}/CancelOperation": Method(
        Right.WRITE,
        lambda made: operations_pb2.CancelOperationRequest(name=named(made)),
        empty_pb2.Empty,
        names_thing=True,
    ),
    f"{_LONGRUNNING}/DeleteOperation": Method(
        Right.WRITE,
        lambda made: operations_pb2.DeleteOperationRequest(name=named(made)),
        empty_pb2.Empty,
        names_thing=True,
    ),
    f"{_ENDPOINTS}/List": Method(
        Right.NOTHING,
        lambda _: endpoints.ListApiEndpointsRequest(),
        endpoints.ListApiEndpointsResponse,
    ),
    f"{_ENDPOINTS}/Get": Method(
        Right.NOTHING,
        lambda _: endpoints.GetApiEndpointRequest(api_endpoint_id="billing"),
        api_endpoint_pb2.ApiEndpoint,
    ),
    f"{_IAM}/Create": Method(
        Right.NOTHING,
        lambda made: iam.CreateIamTokenRequest(jwt=made.assertion),
        iam.CreateIamTokenResponse,
    ),
    f"{_IAM}/Revoke": Method(
        Right.IDENTITY,
        lambda made: iam.RevokeIamTokenRequest(iam_token=made.token),
        iam.RevokeIamTokenResponse,
    ),
}

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
            f"/{_LONGRUNNING}/ListOperations",
            request_serializer=operations_pb2.ListOperationsRequest.SerializeToString,
            response_deserializer=operations_pb2.ListOperationsResponse.FromString,
        )
        request = operations_pb2.ListOperationsRequest(name="operations", page_size=1000)
        answer = await method(request, metadata=bearer(table.tokens[caller]))
        assert (named(made) in {operation.name for operation in answer.operations}) == seen
