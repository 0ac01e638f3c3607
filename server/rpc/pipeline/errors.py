"""The one place where errors become `google.rpc.Status`, for calls and for operations alike."""

import math
import re
from collections.abc import Mapping

from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from server.domain.errors import BillingError, FieldViolation, Reason
from server.domain.operations import Failure

DOMAIN = "billing.example.com"

# Wrong fields that a message names; the details name them all.
_NAMED = 3
_UNDERSCORE = re.compile("_([a-z0-9])")

CODES: Mapping[Reason, int] = {
    Reason.REQUEST_MALFORMED: code_pb2.INVALID_ARGUMENT,
    Reason.REQUEST_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    Reason.FIELDS_INVALID: code_pb2.INVALID_ARGUMENT,
    Reason.IDEMPOTENCY_KEY_INVALID: code_pb2.INVALID_ARGUMENT,
    Reason.IDEMPOTENCY_KEY_REUSED: code_pb2.INVALID_ARGUMENT,
    Reason.CREDENTIALS_MISSING: code_pb2.UNAUTHENTICATED,
    Reason.CREDENTIALS_INVALID: code_pb2.UNAUTHENTICATED,
    Reason.SIGNING_KEY_MISSING: code_pb2.UNAVAILABLE,
    Reason.PERMISSION_MISSING: code_pb2.PERMISSION_DENIED,
    Reason.RESELLER_SUSPENDED: code_pb2.PERMISSION_DENIED,
    Reason.RESELLER_REMOVED: code_pb2.PERMISSION_DENIED,
    Reason.LAST_OWNER: code_pb2.FAILED_PRECONDITION,
    Reason.NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.INVITATION_OPEN: code_pb2.ALREADY_EXISTS,
    Reason.INVITATION_STATE: code_pb2.FAILED_PRECONDITION,
    Reason.LINK_SHOWN_ONCE: code_pb2.ALREADY_EXISTS,
    Reason.INVITATION_HELD: code_pb2.FAILED_PRECONDITION,
    Reason.ADDRESS_SUPPRESSED: code_pb2.FAILED_PRECONDITION,
    Reason.MAIL_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.CUSTOMER_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.MAIL_UNDER_WAY: code_pb2.ABORTED,
    Reason.RESENT_TOO_SOON: code_pb2.RESOURCE_EXHAUSTED,
    Reason.OPERATION_RUNNING: code_pb2.FAILED_PRECONDITION,
    Reason.OPERATION_CANCELLED: code_pb2.CANCELLED,
    Reason.CUSTOMER_STATE: code_pb2.FAILED_PRECONDITION,
    Reason.CUSTOMER_ERASED: code_pb2.FAILED_PRECONDITION,
    Reason.EXTERNAL_ID_TAKEN: code_pb2.ALREADY_EXISTS,
    Reason.CUSTOMER_NOT_DELETED: code_pb2.ALREADY_EXISTS,
    Reason.ADDRESS_TAKEN: code_pb2.ALREADY_EXISTS,
    Reason.RECIPIENT_REFUSED: code_pb2.FAILED_PRECONDITION,
    Reason.SMTPUTF8_MISSING: code_pb2.FAILED_PRECONDITION,
    Reason.MAIL_UNDELIVERED: code_pb2.UNAVAILABLE,
    Reason.EVENTS_GONE: code_pb2.OUT_OF_RANGE,
    Reason.READER_TOO_SLOW: code_pb2.RESOURCE_EXHAUSTED,
    Reason.STREAM_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.SERVER_STOPPING: code_pb2.UNAVAILABLE,
    Reason.WEBHOOK_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.ROLE_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.LINK_LIMIT_REACHED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.WEBHOOK_STATE: code_pb2.FAILED_PRECONDITION,
    Reason.ETAG_STALE: code_pb2.ABORTED,
    Reason.RATE_EXCEEDED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.OVERLOADED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.STORAGE_FULL: code_pb2.RESOURCE_EXHAUSTED,
    Reason.STORAGE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    Reason.OUTCOME_UNKNOWN: code_pb2.UNAVAILABLE,
    Reason.REPORT_NOT_TAKEN: code_pb2.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: code_pb2.DEADLINE_EXCEEDED,
    Reason.METHOD_UNKNOWN: code_pb2.UNIMPLEMENTED,
    Reason.INTERNAL: code_pb2.INTERNAL,
}


def call_status(
    error: BillingError, request_id: str, *, json_names: bool = False, body: str = ""
) -> status_pb2.Status:
    """Returns the status that a failed call answers with.

    `json_names` has fields named as in JSON, `person.postCode`, for a caller who wrote them so. `body` is
    the field that was all of the caller's body: what is in it is named as there, `displayName`.
    """
    text = error.message
    fields = error.fields
    if json_names:
        fields = tuple(_in_json(violation, body) for violation in fields)
    details: list[message.Message] = [_error_info(error.reason, error.metadata)]
    if fields:
        named = [f"{violation.field}: {violation.description}" for violation in fields]
        more = f" (and {len(named) - _NAMED} more)" if len(named) > _NAMED else ""
        text = f"{text} {' '.join(named[:_NAMED])}{more}"
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in fields
                ]
            )
        )
    if error.resource:
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=error.resource.type,
                resource_name=error.resource.name,
                description=error.message,
            )
        )
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        # No sooner: a call after 0 s, or half a millisecond too early, would be refused again.
        delay.FromMilliseconds(max(1, math.ceil(error.retry_after_s * 1000)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    details.append(error_details_pb2.RequestInfo(request_id=request_id))
    return _status(error.reason, text, details)


def operation_status(failure: Failure) -> status_pb2.Status:
    """Returns the status that a failed operation ends with."""
    return _status(failure.reason, failure.message, [_error_info(failure.reason, failure.metadata)])


def _in_json(violation: FieldViolation, body: str) -> FieldViolation:
    if violation.as_written:
        return violation
    field = violation.field.removeprefix(f"{body}.") if body else violation.field
    path = _UNDERSCORE.sub(lambda found: found[1].upper(), field)
    return FieldViolation(path, violation.json_description or violation.description)


def _error_info(reason: Reason, metadata: Mapping[str, str]) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason.value, domain=DOMAIN, metadata=metadata)


def _status(reason: Reason, text: str, details: list[message.Message]) -> status_pb2.Status:
    status = status_pb2.Status(code=CODES[reason], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
