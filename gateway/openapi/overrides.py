"""What the protos do not say about this service: Google's text is not ours to annotate."""

from typing import Any

# The HTTP statuses for a wrong proof, by method: of those whose request holds the proof.
WRONG_PROOF = {
    "billing.v1.BounceService.ReportBounce": (401, 404),
    "billing.v1.InvitationService.AcceptInvitation": (404,),
    "billing.v1.InvitationService.DeclineInvitation": (404,),
    "yandex.cloud.iam.v1.IamTokenService.Create": (401,),
}

# Details that errors carry.
ERROR_DETAILS = (
    "google.rpc.ErrorInfo",
    "google.rpc.BadRequest",
    "google.rpc.ResourceInfo",
    "google.rpc.RetryInfo",
    "google.rpc.RequestInfo",
)

# What events show.
EVENT_DATA = (
    "billing.v1.Customer",
    "billing.v1.Invitation",
    "billing.v1.RoleBinding",
    "billing.v1.Webhook",
)

# What google.longrunning tells of operations that the published API has begun.
PUBLISHED_METADATA = ("billing.v1.CustomerMetadata", "billing.v1.UpdateAccessMetadata")
PUBLISHED_RESPONSES = ("google.protobuf.Empty",)

# What each of a stream's objects is, beside errors.
STREAMED = {"billing.v1.EventStreamService.WatchEvents": "billing.v1.WatchEventsResponse"}

# Of these, one must be set.
EXACTLY_ONE = frozenset(
    {
        "billing.v1.RedeliverEventsRequest.events",
        "yandex.cloud.iam.v1.CreateIamTokenRequest.identity",
    }
)

# Comments by full name, instead of those in the protos.
COMMENTS = {
    "google.rpc.Status": "Why a call or an operation failed.",
    "google.rpc.Status.code": "A number of google.rpc.Code.",
    "google.rpc.Status.message": "What went wrong and what to do about it, in English.",
    "google.rpc.Status.details": "More about the error, each of a type of its own.",
    "google.rpc.ErrorInfo": "Why it failed, for programs; every error has one.",
    "google.rpc.ErrorInfo.reason": "The reason, a constant in UPPER_SNAKE_CASE.",
    "google.rpc.ErrorInfo.domain": "Who gives the reason its meaning: `billing.example.com`.",
    "google.rpc.ErrorInfo.metadata": "More about the reason.",
    "google.rpc.BadRequest": "All fields that are wrong.",
    "google.rpc.BadRequest.FieldViolation.field": "Path of the field: `person.email`.",
    "google.rpc.BadRequest.FieldViolation.description": "What is wrong with it.",
    "google.rpc.ResourceInfo": "The thing that the error is about.",
    "google.rpc.ResourceInfo.resource_type": "Full name of its message.",
    "google.rpc.ResourceInfo.resource_name": "Its ID.",
    "google.rpc.RetryInfo": "The same call may succeed later.",
    "google.rpc.RetryInfo.retry_delay": "How long to wait at least: `1.5s`.",
    "google.rpc.RequestInfo": "Names the request, for a report of what went wrong.",
    "google.rpc.RequestInfo.request_id": "The same as `x-request-id`.",
    "google.longrunning.Operations": (
        "The same operations, for clients that speak google.longrunning."
    ),
    "google.longrunning.Operations.ListOperations": (
        "Lists the operations of the resellers that the caller has a role for, newest first."
    ),
    "google.longrunning.Operations.GetOperation": "Returns an operation as it is now.",
    "google.longrunning.Operations.DeleteOperation": (
        "Deletes the record of an operation that is done.\n\n"
        "What the operation made stays; an operation that is not done is not deleted."
    ),
    "google.longrunning.Operations.CancelOperation": (
        "Asks for an operation to be cancelled.\n\n"
        "Best effort: work that is already under way may still complete. A cancelled operation "
        "ends with error code 1 (CANCELLED) and leaves nothing behind."
    ),
    "google.longrunning.ListOperationsRequest.filter": (
        'Which operations: `NOT done`, `error:*`, `metadata.createTime > "2026-03-01T00:00:00Z"`; '
        "empty for all. Fields are `done`, `error` (`error:*` alone: those that failed), "
        "`metadata.customer` and `metadata.createTime`."
    ),
    "google.longrunning.ListOperationsRequest.page_size": (
        "The most operations to return in one page; 0 means 100, more than 1000 means 1000."
    ),
    "google.longrunning.ListOperationsRequest.page_token": (
        "`next_page_token` of the page before; empty for the first page."
    ),
    "google.longrunning.ListOperationsRequest.return_partial_success": "Without effect.",
    "google.longrunning.ListOperationsResponse.unreachable": "Always empty.",
    "google.longrunning.ListOperationsResponse": "One page of operations.",
    "google.longrunning.ListOperationsResponse.operations": "The operations, newest first.",
    "google.longrunning.ListOperationsResponse.next_page_token": (
        "Asks for the next page; empty on the last one."
    ),
    "google.longrunning.Operation": (
        "Work that goes on after the call that began it has been answered."
    ),
    "google.longrunning.Operation.name": "`operations/` and the operation's ID.",
    "google.longrunning.Operation.metadata": (
        "What the operation is about: the IDs of the things it works on."
    ),
    "google.longrunning.Operation.done": (
        "False while the work goes on; true once `error` or `response` is there."
    ),
    "google.longrunning.Operation.error": "Why the operation failed or that it was cancelled.",
    "google.longrunning.Operation.response": "What the operation made.",
}

# Keywords by full name, over those that the options give.
KEYWORDS: dict[str, dict[str, Any]] = {
    "yandex.cloud.iam.v1.CreateIamTokenRequest.jwt": {"minLength": 1},
    "yandex.cloud.iam.v1.CreateIamTokenRequest.yandex_passport_oauth_token": {"minLength": 1},
}

# What to ask next, by the message that an answer consists of: operation, its parameter, where from.
LINKS: dict[str, dict[str, tuple[str, str, str]]] = {
    "yandex.cloud.operation.Operation": {
        "Watch": ("OperationService.Get", "operationId", "/id"),
        "Cancel": ("OperationService.Cancel2", "operationId", "/id"),
        "Activate": ("CustomerService.Activate", "customerId", "/metadata/customerId"),
        "Suspend": ("CustomerService.Suspend", "customerId", "/metadata/customerId"),
    },
    "yandex.cloud.billing.v1.ListCustomersResponse": {
        "Activate": ("CustomerService.Activate", "customerId", "/customers/0/id"),
        "Suspend": ("CustomerService.Suspend", "customerId", "/customers/0/id"),
    },
    "yandex.cloud.endpoint.ListApiEndpointsResponse": {
        "First": ("ApiEndpointService.Get", "apiEndpointId", "/endpoints/0/id"),
    },
}
