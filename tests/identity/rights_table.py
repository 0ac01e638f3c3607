"""The table of rights: a row for each method."""

import uuid

import grpc
from billing.v1 import bounce_service_pb2 as bounces
from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import event_pb2, invitation_pb2, webhook_pb2
from billing.v1 import event_service_pb2 as events
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_service_pb2 as invitations
from billing.v1 import suppression_service_pb2 as suppressions
from billing.v1 import webhook_service_pb2 as webhooks
from google.api import httpbody_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2 as accounts
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.endpoint import api_endpoint_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoints
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.operation import operation_pb2
from yandex.cloud.operation import operation_service_pb2 as operations

from server.domain.access import Role
from server.domain.events import event_id
from tests.identity.rights import (
    NOT_FOUND,
    UNAUTHENTICATED,
    Method,
    Right,
    account_of,
    customer_name,
    invite_fields,
    named,
    named_invitation,
    named_webhook,
)
from tests.inviting import in_our_words

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
