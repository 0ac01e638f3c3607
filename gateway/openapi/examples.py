"""Realistic requests and answers: JSON bodies by message, and answers by method where these differ.

Longer than others: all examples tell of the same customer.
"""

from typing import Any

RESELLER = "bac5m1n0d8q2r7t4v6h3"
CUSTOMER = "bcu7k3p9a1s5e0j2g8l4"
ACCOUNT = "bac2f8u6c4i0o9b3n7m1"
OPERATION = "bop1d7h3l9p5t0a6e2i8"
INVITATION = "inv6a2c8e4g0i5k1m7o3q"
SUBJECT = "aje4g0k6o2s8u1c7f3j9"
WEBHOOK = "whk5b1f7j3n9r0v4d8h2"

_PERSON = {
    "name": "Romashka",
    "longname": "Romashka Limited Liability Company",
    "phone": "+7 495 123-45-67",
    "email": "office@romashka.example",
    "postCode": "119021",
    "postAddress": "1 Example Street, Moscow",
    "legalAddress": "1 Example Street, Moscow",
    "tin": "7700000000",
}
_INVITE = {
    "resellerId": RESELLER,
    "name": "Romashka",
    "invitationEmail": "director@romashka.example",
    "person": _PERSON,
}
_TYPE_URL = "type.googleapis.com/yandex.cloud.billing.v1."
_METADATA = {
    "@type": _TYPE_URL + "CustomerMetadata",
    "resellerId": RESELLER,
    "customerId": CUSTOMER,
}
_CUSTOMER = {"id": CUSTOMER, "billingAccountId": ACCOUNT}
_RESPONSE = {"@type": _TYPE_URL + "Customer"} | _CUSTOMER
_PARENT = f"resellers/{RESELLER}"
_INVITATION = {
    "name": f"{_PARENT}/invitations/{INVITATION}",
    "reseller": _PARENT,
    "customer": f"{_PARENT}/customers/{CUSTOMER}",
    "email": "director@romashka.example",
    "state": "PENDING",
    "createTime": "2026-03-02T09:30:00.120Z",
    "expireTime": "2026-04-01T09:30:00.120Z",
    "delivery": {"state": "SENT", "attempts": 1, "sentTime": "2026-03-02T09:30:00.480Z"},
    "customerState": "ACCEPTANCE_REQUIRED",
    "languageCode": "en",
    "inviterDisplayName": "Ostap Bender",
    "note": "Your account is ready: accept the invitation, and we begin on Monday.",
    "timeToLive": "2592000s",
    "deliveryMethod": "EMAIL",
    "returnUri": "https://shop.example/welcome",
    "reminderDays": [7, 1],
}
_SUPPRESSION = {
    "name": f"{_PARENT}/suppressions/sup5d8f2h6k0m4q9s3u7",
    "email": "director@romashka.example",
    "createTime": "2026-03-02T09:31:00.240Z",
    "error": {
        "message": "There is no such mailbox.",
        "smtpCode": 550,
        "enhancedStatus": "5.1.1",
    },
}
_BILLING_ACCOUNT = {
    "id": ACCOUNT,
    "name": "Romashka",
    "createdAt": "2026-03-02T09:30:00.120Z",
    "countryCode": "RU",
    "currency": "RUB",
    "active": True,
    "balance": "0",
}
_ACCESS_BINDING = {
    "roleId": "billing.accounts.viewer",
    "subject": {"id": SUBJECT, "type": "serviceAccount"},
}
_GOOGLE_METADATA = {
    "@type": "type.googleapis.com/billing.v1.InviteCustomerMetadata",
    "customer": _INVITATION["customer"],
    "invitation": _INVITATION["name"],
    "createTime": "2026-03-02T09:30:00.120Z",
}
_RESEND_METADATA = _GOOGLE_METADATA | {
    "@type": "type.googleapis.com/billing.v1.ResendInvitationMetadata"
}
_ENDED = "2026-03-03T12:00:00.360Z"
_GOOGLE_CUSTOMER = {
    "name": f"{_PARENT}/customers/{CUSTOMER}",
    "displayName": "Romashka",
    "state": "ACTIVE",
    "email": "director@romashka.example",
    "person": _PERSON,
    "billingAccountId": ACCOUNT,
    "createTime": "2026-03-02T09:30:00.120Z",
    "updateTime": _ENDED,
    "externalId": "R-1042",
    "labels": {"tier": "gold"},
    "etag": '"8j4g2l6519b0c5e3f7a4"',
}
_GOOGLE_RESPONSE = {"@type": "type.googleapis.com/billing.v1.Customer"} | _GOOGLE_CUSTOMER
_EVENT = {
    "name": f"{_PARENT}/events/evt000000000042k3m9p2s7",
    "type": "invitation.accepted",
    "createTime": _ENDED,
    "actor": {"subject": "invitee", "keyId": "", "requestId": "6c0a2f6e-5d0b-4b6e-9a53"},
    "customer": f"{_PARENT}/customers/{CUSTOMER}",
    "invitation": _INVITATION["name"],
    "operation": "",
    "data": {"@type": "type.googleapis.com/billing.v1.Invitation"}
    | _INVITATION
    | {"state": "ACCEPTED", "endTime": _ENDED, "customerState": "ACTIVE"},
}
_WEBHOOK = {
    "name": f"{_PARENT}/webhooks/{WEBHOOK}",
    "url": "https://books.romashka.example/hook",
    "types": ["invitation.accepted", "invitation.declined"],
    "description": "Our books",
    "contentType": "application/cloudevents+json",
    "alertEmail": "ops@romashka.example",
    "state": "ENABLED",
    "disableReason": "",
    "createTime": "2026-03-02T09:30:00.120Z",
    "updateTime": "2026-03-02T09:30:00.120Z",
    "lastSuccessTime": _ENDED,
    "backlog": 0,
    "etag": '"1"',
}
_NEW_WEBHOOK = {key: value for key, value in _WEBHOOK.items() if key != "lastSuccessTime"} | {
    "backlog": 1
}
_WEBHOOK_WITH_SECRET = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}
_WEBHOOK_SETTINGS = {key: _WEBHOOK[key] for key in ("url", "types", "description", "alertEmail")}
_WEBHOOK_NAME = {"name": _WEBHOOK["name"]}
_ATTEMPT = {
    "event": _EVENT["name"],
    "time": _ENDED,
    "status": 503,
    "error": "",
    "milliseconds": 117,
    "nextTryTime": "2026-03-03T12:05:00.360Z",
}
_LINK_TOKEN = "Yq0hV3yqk4dW8mZ1bT7cN5sR2xJ6pLfA"  # noqa: S105  # An example.
_CANCELLED = {
    "code": 1,
    "message": "The operation was cancelled.",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "OPERATION_CANCELLED",
            "domain": "billing.example.com",
            "metadata": {},
        }
    ],
}

# What closes a stream whose server stops.
STREAM_ENDS = {
    "error": {
        "code": 503,
        "message": "The server stops; open the stream again after the position in this error's "
        "metadata.",
        "status": "UNAVAILABLE",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVER_STOPPING",
                "domain": "billing.example.com",
                "metadata": {"position": "evt000000000042k3m9p2s7"},
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"},
        ],
    }
}

REQUESTS: dict[str, dict[str, Any]] = {
    "yandex.cloud.billing.v1.InviteCustomerRequest": _INVITE,
    "billing.v1.InviteCustomerRequest": {
        "parent": _PARENT,
        "customer": {
            "displayName": "Romashka",
            "email": "director@romashka.example",
            "person": _PERSON,
        },
    },
    "yandex.cloud.billing.v1.CreateResellerServedCustomerRequest": {
        "resellerId": RESELLER,
        "name": "Romashka",
        "person": _PERSON,
    },
    "yandex.cloud.billing.v1.ActivateCustomerRequest": {"customerId": CUSTOMER},
    "yandex.cloud.billing.v1.SuspendCustomerRequest": {"customerId": CUSTOMER},
    "yandex.cloud.billing.v1.ListCustomersRequest": {"resellerId": RESELLER},
    "yandex.cloud.billing.v1.GetBillingAccountRequest": {"id": ACCOUNT},
    "yandex.cloud.billing.v1.ListBillingAccountsRequest": {},
    "yandex.cloud.operation.GetOperationRequest": {"operationId": OPERATION},
    "yandex.cloud.operation.CancelOperationRequest": {"operationId": OPERATION},
    "yandex.cloud.endpoint.GetApiEndpointRequest": {"apiEndpointId": "billing"},
    "yandex.cloud.endpoint.ListApiEndpointsRequest": {},
    "yandex.cloud.access.ListAccessBindingsRequest": {"resourceId": RESELLER},
    "yandex.cloud.access.UpdateAccessBindingsRequest": {
        "resourceId": RESELLER,
        "accessBindingDeltas": [{"action": "ADD", "accessBinding": _ACCESS_BINDING}],
    },
    "yandex.cloud.iam.v1.CreateIamTokenRequest": {
        "jwt": "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln"
    },
    "yandex.cloud.iam.v1.RevokeIamTokenRequest": {"iamToken": "t1.9euelZqY.c2ln"},
    "billing.v1.CreateCustomerRequest": {
        "parent": _PARENT,
        "customer": {"displayName": "Romashka", "person": _PERSON, "externalId": "R-1042"},
    },
    "billing.v1.UpdateCustomerRequest": {
        "customer": {
            "name": f"{_PARENT}/customers/{CUSTOMER}",
            "labels": {"tier": "gold"},
            "etag": '"8j4g2l6519b0c5e3f7a1"',
        },
        "updateMask": "labels.tier",
    },
    **{
        f"billing.v1.{verb}CustomerRequest": {"name": f"{_PARENT}/customers/{CUSTOMER}"}
        for verb in ("Delete", "Undelete", "Suspend", "Activate")
    },
    "billing.v1.GetCustomerRequest": {"name": f"{_PARENT}/customers/{CUSTOMER}"},
    "billing.v1.ListCustomersRequest": {
        "parent": _PARENT,
        "filter": "state = ACTIVE AND labels.tier = gold",
    },
    "billing.v1.GetInvitationRequest": {"name": _INVITATION["name"]},
    "billing.v1.ListInvitationsRequest": {"parent": _PARENT, "filter": "state = PENDING"},
    "billing.v1.ResendInvitationRequest": {"name": _INVITATION["name"]},
    "billing.v1.UpdateInvitationRequest": {
        "invitation": {"name": _INVITATION["name"], "email": "director@romashka.example"},
        "updateMask": "email",
    },
    "billing.v1.CreateInvitationLinkRequest": {"name": _INVITATION["name"]},
    "billing.v1.RevokeInvitationRequest": {"name": _INVITATION["name"]},
    "billing.v1.AcceptInvitationRequest": {"token": _LINK_TOKEN},
    "billing.v1.DeclineInvitationRequest": {"token": _LINK_TOKEN},
    "billing.v1.GetEventRequest": {"name": _EVENT["name"]},
    "billing.v1.ListEventsRequest": {
        "parent": _PARENT,
        "after": "evt000000000041k3m9p2s7",
        "filter": 'type = "invitation.accepted" OR type = "invitation.declined"',
    },
    "billing.v1.WatchEventsRequest": {
        "parent": _PARENT,
        "after": "evt000000000041k3m9p2s7",
        "filter": 'type = "invitation.accepted"',
    },
    "billing.v1.CreateWebhookRequest": {"parent": _PARENT, "webhook": _WEBHOOK_SETTINGS},
    "billing.v1.GetWebhookRequest": _WEBHOOK_NAME,
    "billing.v1.ListWebhooksRequest": {"parent": _PARENT},
    "billing.v1.UpdateWebhookRequest": {
        "webhook": _WEBHOOK_NAME | {"types": [], "etag": '"1"'},
        "updateMask": "types",
    },
    "billing.v1.ListSuppressionsRequest": {"parent": _PARENT, "pageSize": 10},
    "billing.v1.DeleteSuppressionRequest": {"name": _SUPPRESSION["name"]},
    "billing.v1.ReportBounceRequest": {
        "report": {
            "sender": "b-04k0m9q3s7u1a5c9e3g7i1k5m9o3q7s1@bounces.example.com",
            "action": "failed",
            "status": "5.1.1",
            "diagnostic": "550 5.1.1 No such user",
        }
    },
    "billing.v1.DeleteWebhookRequest": _WEBHOOK_NAME | {"etag": '"1"'},
    "billing.v1.RotateWebhookSecretRequest": _WEBHOOK_NAME | {"overlap": "3600s"},
    "billing.v1.TestWebhookRequest": _WEBHOOK_NAME,
    "billing.v1.RedeliverEventsRequest": _WEBHOOK_NAME | {"event": _EVENT["name"]},
    "billing.v1.ListWebhookAttemptsRequest": {"parent": _WEBHOOK["name"]},
    "google.longrunning.ListOperationsRequest": {"name": "operations"},
    "google.longrunning.GetOperationRequest": {"name": f"operations/{OPERATION}"},
    "google.longrunning.CancelOperationRequest": {"name": f"operations/{OPERATION}"},
    "google.longrunning.DeleteOperationRequest": {"name": f"operations/{OPERATION}"},
}


def _published(description: str, **result: Any) -> dict[str, Any]:
    at = "2026-03-02T09:30:00.120Z"
    return {
        "id": OPERATION,
        "description": description,
        "createdAt": at,
        "createdBy": SUBJECT,
        "modifiedAt": "2026-03-02T09:30:01.480Z" if result else at,
        "done": bool(result),
        "metadata": _METADATA,
    } | result


def _google_style(metadata: dict[str, Any] = _GOOGLE_METADATA, **result: Any) -> dict[str, Any]:
    name = f"operations/{OPERATION}"
    return {"name": name, "metadata": metadata, "done": bool(result)} | result


_CUSTOMERS = "yandex.cloud.billing.v1.CustomerService"
_OPERATIONS = "google.longrunning.Operations"
_INVITATIONS = "billing.v1.InvitationService"
_SUPPRESSIONS = "billing.v1.SuppressionService"
_WEBHOOKS = "billing.v1.WebhookService"

# By method; each a short title and a body.
RESPONSES: dict[str, dict[str, dict[str, Any]]] = {
    f"{_CUSTOMERS}.Invite": {"Begun": _published("Invite customer")},
    f"{_CUSTOMERS}.CreateResellerServed": {
        "Done": _published("Create reseller-served customer", response=_RESPONSE)
    },
    f"{_CUSTOMERS}.Activate": {"Done": _published("Activate customer", response=_RESPONSE)},
    f"{_CUSTOMERS}.Suspend": {"Done": _published("Suspend customer", response=_RESPONSE)},
    f"{_CUSTOMERS}.List": {"One page": {"customers": [_CUSTOMER], "nextPageToken": ""}},
    "billing.v1.CustomerService.InviteCustomer": {"Begun": _google_style()},
    "billing.v1.CustomerService.CreateCustomer": {
        "Created": _GOOGLE_CUSTOMER | {"email": ""},
    },
    "billing.v1.CustomerService.UpdateCustomer": {"Changed": _GOOGLE_CUSTOMER},
    "billing.v1.CustomerService.DeleteCustomer": {
        "Deleted": _GOOGLE_CUSTOMER
        | {
            "state": "DELETED",
            "deleteTime": _ENDED,
            "purgeTime": "2026-04-02T12:00:00.360Z",
        }
    },
    "billing.v1.CustomerService.UndeleteCustomer": {"As before": _GOOGLE_CUSTOMER},
    "billing.v1.CustomerService.SuspendCustomer": {
        "Suspended": _GOOGLE_CUSTOMER | {"state": "SUSPENDED"}
    },
    "billing.v1.CustomerService.ActivateCustomer": {"Active": _GOOGLE_CUSTOMER},
    "billing.v1.CustomerService.GetCustomer": {"Active": _GOOGLE_CUSTOMER},
    "billing.v1.CustomerService.ListCustomers": {
        "One page": {"customers": [_GOOGLE_CUSTOMER], "nextPageToken": ""}
    },
    f"{_INVITATIONS}.GetInvitation": {"Pending": _INVITATION},
    f"{_INVITATIONS}.ListInvitations": {
        "One page": {"invitations": [_INVITATION], "nextPageToken": ""}
    },
    f"{_INVITATIONS}.ResendInvitation": {"Begun": _google_style(_RESEND_METADATA)},
    f"{_INVITATIONS}.UpdateInvitation": {
        "Sent anew": _INVITATION | {"delivery": {"state": "QUEUED", "attempts": 0}}
    },
    f"{_INVITATIONS}.CreateInvitationLink": {
        "Made": {
            "uri": f"https://billing.example.com/invitations/{_LINK_TOKEN}",
            "expireTime": _INVITATION["expireTime"],
        }
    },
    f"{_INVITATIONS}.RevokeInvitation": {
        "Revoked": _INVITATION
        | {"state": "REVOKED", "endTime": _ENDED, "customerState": "INACTIVE"}
    },
    f"{_INVITATIONS}.AcceptInvitation": {
        "Accepted": _INVITATION
        | {"state": "ACCEPTED", "endTime": _ENDED, "customerState": "ACTIVE"}
    },
    f"{_INVITATIONS}.DeclineInvitation": {
        "Declined": _INVITATION
        | {"state": "DECLINED", "endTime": _ENDED, "customerState": "INACTIVE"}
    },
    "billing.v1.EventService.GetEvent": {"An invitation was accepted": _EVENT},
    "billing.v1.EventService.ListEvents": {"One page": {"events": [_EVENT], "nextPageToken": ""}},
    "billing.v1.EventStreamService.WatchEvents": {
        "An event": {"event": _EVENT, "position": "evt000000000042k3m9p2s7"},
        "A position": {"position": "evt000000000042k3m9p2s7"},
    },
    f"{_WEBHOOKS}.CreateWebhook": {"Added": _NEW_WEBHOOK | _WEBHOOK_WITH_SECRET},
    f"{_WEBHOOKS}.GetWebhook": {"Enabled": _WEBHOOK},
    f"{_WEBHOOKS}.ListWebhooks": {"One page": {"webhooks": [_WEBHOOK], "nextPageToken": ""}},
    f"{_WEBHOOKS}.UpdateWebhook": {"Changed": _WEBHOOK | {"types": [], "etag": '"2"'}},
    f"{_SUPPRESSIONS}.ListSuppressions": {
        "One page": {"suppressions": [_SUPPRESSION], "nextPageToken": ""}
    },
    f"{_SUPPRESSIONS}.DeleteSuppression": {"Released": {}},
    "billing.v1.BounceService.ReportBounce": {"Noted": {}},
    f"{_WEBHOOKS}.DeleteWebhook": {"Deleted": {}},
    f"{_WEBHOOKS}.RotateWebhookSecret": {
        "Rotated": _WEBHOOK | _WEBHOOK_WITH_SECRET | {"etag": '"2"'}
    },
    f"{_WEBHOOKS}.TestWebhook": {"Sent": {"event": _EVENT["name"]}},
    f"{_WEBHOOKS}.RedeliverEvents": {"Begun": _WEBHOOK | {"backlog": 1}},
    f"{_WEBHOOKS}.ListWebhookAttempts": {"One page": {"attempts": [_ATTEMPT], "nextPageToken": ""}},
    "yandex.cloud.billing.v1.BillingAccountService.Get": {"Active": _BILLING_ACCOUNT},
    "yandex.cloud.billing.v1.BillingAccountService.List": {
        "One page": {"billingAccounts": [_BILLING_ACCOUNT], "nextPageToken": ""}
    },
    "yandex.cloud.billing.v1.BillingAccountService.ListAccessBindings": {
        "One page": {"accessBindings": [_ACCESS_BINDING], "nextPageToken": ""}
    },
    "yandex.cloud.billing.v1.BillingAccountService.UpdateAccessBindings": {
        "Done": _published(
            "Update access bindings",
            metadata={
                "@type": "type.googleapis.com/yandex.cloud.access.UpdateAccessBindingsMetadata",
                "resourceId": RESELLER,
            },
            response={"@type": "type.googleapis.com/google.protobuf.Empty"},
        )
    },
    "yandex.cloud.operation.OperationService.Get": {
        "Running": _published("Invite customer"),
        "Done": _published("Invite customer", response=_RESPONSE),
        "Failed": _published("Invite customer", error=_CANCELLED),
    },
    "yandex.cloud.operation.OperationService.Cancel": {
        "Cancelled": _published("Invite customer", error=_CANCELLED),
        "Too late": _published("Invite customer", response=_RESPONSE),
    },
    "yandex.cloud.endpoint.ApiEndpointService.Get": {
        "Billing": {"id": "billing", "address": "localhost:8443"}
    },
    "yandex.cloud.endpoint.ApiEndpointService.List": {
        "All": {
            "endpoints": [
                {"id": id_, "address": "localhost:8443"}
                for id_ in ("billing", "endpoint", "iam", "operation")
            ],
            "nextPageToken": "",
        }
    },
    "yandex.cloud.iam.v1.IamTokenService.Create": {
        "Token": {"iamToken": "t1.9euelZqY.c2ln", "expiresAt": "2026-03-02T21:30:00Z"}
    },
    "yandex.cloud.iam.v1.IamTokenService.Revoke": {"Revoked": {"subjectId": SUBJECT}},
    f"{_OPERATIONS}.GetOperation": {
        "Running": _google_style(),
        "Done": _google_style(response=_GOOGLE_RESPONSE),
        "Failed": _google_style(error=_CANCELLED),
    },
    f"{_OPERATIONS}.ListOperations": {
        "One page": {
            "operations": [_google_style(response=_GOOGLE_RESPONSE)],
            "nextPageToken": "",
            "unreachable": [],
        }
    },
    f"{_OPERATIONS}.CancelOperation": {"Asked": {}},
    f"{_OPERATIONS}.DeleteOperation": {"Deleted": {}},
}
