"""The one error that the service raises on purpose, and the reasons it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a call or an operation failed; sent to callers as `google.rpc.ErrorInfo.reason`.

    Above each: what the caller did, or what happened, and what to do next.
    """

    # Sent bytes that are no message of the method, or not a whole one: mend the client.
    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    # Sent a message over the limit in bytes: send less at a time.
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    # Sent fields that break a rule: correct those that the details name.
    FIELDS_INVALID = "FIELDS_INVALID"
    # Sent an idempotency key that is no UUID: send one.
    IDEMPOTENCY_KEY_INVALID = "IDEMPOTENCY_KEY_INVALID"
    # Sent the idempotency key of another request: make a new key for each new request.
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    # Sent no credentials: send an IAM token.
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    # Sent credentials that are wrong, have expired or were revoked: get a new IAM token.
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    # Asked for a token while the service has no key to sign it with: try again once who runs the
    # service has made one with `iam-keys rotate`.
    SIGNING_KEY_MISSING = "SIGNING_KEY_MISSING"
    # Asked for something that no role of the caller's permits: ask the reseller's owner for a role.
    PERMISSION_MISSING = "PERMISSION_MISSING"
    # Called for a suspended reseller: ask who runs the service to resume it.
    RESELLER_SUSPENDED = "RESELLER_SUSPENDED"
    # Called for a removed reseller: ask who runs the service.
    RESELLER_REMOVED = "RESELLER_REMOVED"
    # Took the role of a reseller's last owner: give another subject that role first.
    LAST_OWNER = "LAST_OWNER"
    # Named something that does not exist, or no longer: check its ID, name or link.
    NOT_FOUND = "NOT_FOUND"
    # Invited an address and tax number that have an open invitation already: wait until that one
    # ends, send it again or revoke it.
    INVITATION_OPEN = "INVITATION_OPEN"
    # Invited, or sent again to, an address that took no e-mail or whose owner wants none: see the
    # error's metadata; release it where it bounced for you, or hand a link over yourself.
    ADDRESS_SUPPRESSED = "ADDRESS_SUPPRESSED"
    # Did to an invitation what its state does not allow, or it ended before its e-mail had gone out:
    # look at its state; invite anew where it has ended.
    INVITATION_STATE = "INVITATION_STATE"
    # Repeated a call that made a link, which only its first answer shows: make another, with a new key.
    LINK_SHOWN_ONCE = "LINK_SHOWN_ONCE"
    # Answered an invitation whose reseller is suspended or removed: open the link again later.
    INVITATION_HELD = "INVITATION_HELD"
    # Asked for more e-mails than an address may get or a reseller send: try again later.
    MAIL_LIMIT_REACHED = "MAIL_LIMIT_REACHED"
    # Added more customers than one reseller may have: ask who runs the service for a higher limit.
    CUSTOMER_LIMIT_REACHED = "CUSTOMER_LIMIT_REACHED"
    # Asked for what can't be done while the invitation's e-mail is on its way: try again shortly.
    MAIL_UNDER_WAY = "MAIL_UNDER_WAY"
    # Asked to send an e-mail again right after the last one: try again later.
    RESENT_TOO_SOON = "RESENT_TOO_SOON"
    # Deleted an operation that has not ended: wait for it or cancel it first.
    OPERATION_RUNNING = "OPERATION_RUNNING"
    # The operation was cancelled: start a new one if that was a mistake.
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    # Activated or suspended a customer that is neither active nor suspended: look at its state.
    CUSTOMER_STATE = "CUSTOMER_STATE"
    # Changed a customer that was erased: it stays without a name; create or invite a new one.
    CUSTOMER_ERASED = "CUSTOMER_ERASED"
    # Gave a customer an external ID that another living one of the reseller's has: take another, or
    # delete that customer.
    EXTERNAL_ID_TAKEN = "EXTERNAL_ID_TAKEN"
    # Undeleted a customer that is not deleted: nothing is to be done.
    CUSTOMER_NOT_DELETED = "CUSTOMER_NOT_DELETED"
    # Undeleted a customer whose address another one has been invited at since: delete that one first.
    ADDRESS_TAKEN = "ADDRESS_TAKEN"
    # Invited an address that its mail server refuses for good: correct the address, invite anew.
    RECIPIENT_REFUSED = "RECIPIENT_REFUSED"
    # Invited an address with letters beyond ASCII, which a mail server on the way can't handle: invite
    # another address of the customer's.
    SMTPUTF8_MISSING = "SMTPUTF8_MISSING"
    # The e-mail could not be handed over in all the time that it was tried: invite anew later.
    MAIL_UNDELIVERED = "MAIL_UNDELIVERED"
    # Asked to read on after an event that is no longer kept: go on from the oldest in the metadata.
    EVENTS_GONE = "EVENTS_GONE"
    # Read a stream of events more slowly than they come: open it again after the last position.
    READER_TOO_SLOW = "READER_TOO_SLOW"
    # Opened more streams of events at once than one caller may: close one, then open it again.
    STREAM_LIMIT_REACHED = "STREAM_LIMIT_REACHED"
    # Read a stream of events when its server stopped: open it again after the last position.
    SERVER_STOPPING = "SERVER_STOPPING"
    # Added more webhooks than one reseller may have: delete one, then create it again.
    WEBHOOK_LIMIT_REACHED = "WEBHOOK_LIMIT_REACHED"
    # Gave more roles for one reseller than there may be: take some, then give them again.
    ROLE_LIMIT_REACHED = "ROLE_LIMIT_REACHED"
    # Made more links than one invitation may have: send it again, which ends those so far.
    LINK_LIMIT_REACHED = "LINK_LIMIT_REACHED"
    # Asked a webhook for what its state does not allow: look at its state and `disableReason`.
    WEBHOOK_STATE = "WEBHOOK_STATE"
    # Changed something that has been changed since it was read: read it again.
    ETAG_STALE = "ETAG_STALE"
    # Called, or tried wrong links, more often than one caller may: slow down and try again.
    RATE_EXCEEDED = "RATE_EXCEEDED"
    # Called while the server, or the caller itself, has too many calls in work: try again shortly.
    OVERLOADED = "OVERLOADED"
    # Wrote while the disk is full: try again once who runs the service has made room.
    STORAGE_FULL = "STORAGE_FULL"
    # Called while the database can't be reached or does not answer, and nothing was done: try again.
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    # Wrote while the database broke off, so that it may have been done or not: repeat the call with its
    # idempotency key, which tells; without a key, look whether it was done before repeating it.
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    # Reported what came of an e-mail when that could not be looked into yet: report it again.
    REPORT_NOT_TAKEN = "REPORT_NOT_TAKEN"
    # Sent the call's message too late: send it with the call. Or gave a stream a deadline, which has come:
    # open it again after the position in the metadata.
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    # Called a method that does not exist: look at the server's reflection.
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    # Met a bug of ours: report the request ID.
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field. `field` is its path by the names of the proto: `person.post_code`.

    `json_description` says the same to those who write names as in JSON, where it names fields. With
    `as_written` the path is the caller's own, which is told as it is.
    """

    field: str
    description: str
    json_description: str | None = None
    as_written: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """The thing that an error is about. `type` is a full message name."""

    type: str
    name: str


class BillingError(Exception):
    """A refusal that the caller is told about as it stands.

    `message` says what to do next and holds no personal data; `metadata` is for programs.
    `retry_after_s` is set where the same call may succeed later. `for_operators` is what those who run
    the service are told of a database that failed.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[FieldViolation] = (),
        resource: Resource | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.fields = tuple(fields)
        self.resource = resource
        self.retry_after_s = retry_after_s
        self.for_operators = ""


def invalid_fields(*violations: FieldViolation) -> BillingError:
    """Returns the refusal of a request for its fields, all of which it names."""
    return BillingError(
        Reason.FIELDS_INVALID, "The request has fields that are not valid.", fields=violations
    )


def invalid_field(
    field: str, description: str, json_description: str | None = None
) -> BillingError:
    """Returns the refusal of a request for one field."""
    return invalid_fields(FieldViolation(field, description, json_description))
