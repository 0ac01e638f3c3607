"""The tables, but for those of access and of webhooks. The migrations make exactly these; a test compares the two on both databases.

A customer and its invitation are one row. Rows of great number have integer keys inside (`n`), which
grow with time, so that "newest first" is the order of keys, and text IDs outside. Each index costs on
every write, so there is one only where a call needs it. Rows of great number carry no foreign keys:
each would look its parent up on every insert. States and kinds are the numbers in `codes`.

Longer than others: one page shows all that is stored.
"""

from typing import NamedTuple, NewType

from sqlalchemy import MetaData, Sequence, false, text, true

from server.storage.schema.codes import (
    PENDING,
    SUSPENDED,
    CustomerStateCode,
    DeliveryStateCode,
    EventTypeCode,
    InvitationStateCode,
    OperationKindCode,
    SuppressionReasonCode,
    TargetCode,
)
from server.storage.schema.columns import Count, index, table
from server.storage.sql.times import Micros

# The latest migration: what a server started from this code works with.
REVISION = "0028"

metadata = MetaData()

# Where PostgreSQL draws the numbers of customers, operations, webhooks, deliveries, attempts and roles
# from; SQLite has one writer, which takes the next one after the greatest.
numbers = Sequence("numbers", metadata=metadata)

ResellerNumber = NewType("ResellerNumber", int)
CustomerNumber = NewType("CustomerNumber", int)
OperationNumber = NewType("OperationNumber", int)
LinkNumber = NewType("LinkNumber", int)
TargetNumber = NewType("TargetNumber", int)
AddressKey = NewType("AddressKey", int)
Slot = NewType("Slot", int)
EventNumber = NewType("EventNumber", int)
WebhookNumber = NewType("WebhookNumber", int)
DeliveryNumber = NewType("DeliveryNumber", int)
AttemptNumber = NewType("AttemptNumber", int)
SuppressionNumber = NewType("SuppressionNumber", int)
RoleNumber = NewType("RoleNumber", int)

ResellerId = NewType("ResellerId", str)
CustomerId = NewType("CustomerId", str)
InvitationId = NewType("InvitationId", str)
OperationId = NewType("OperationId", str)
AccountId = NewType("AccountId", str)
SubjectId = NewType("SubjectId", str)
DisplayName = NewType("DisplayName", str)
PersonJson = NewType("PersonJson", str)
OptionsJson = NewType("OptionsJson", str)
DetailsJson = NewType("DetailsJson", str)
OriginsJson = NewType("OriginsJson", str)
ExternalId = NewType("ExternalId", str)
LabelsJson = NewType("LabelsJson", str)
Email = NewType("Email", str)
FailureJson = NewType("FailureJson", str)
ActorJson = NewType("ActorJson", str)
DeferralJson = NewType("DeferralJson", str)
DeliveryJson = NewType("DeliveryJson", str)
SuppressionId = NewType("SuppressionId", str)
ErrorJson = NewType("ErrorJson", str)
LinkHash = NewType("LinkHash", bytes)
IdempotencyKeyHash = NewType("IdempotencyKeyHash", bytes)
Fingerprint = NewType("Fingerprint", bytes)
TokenHash = NewType("TokenHash", bytes)
KeyId = NewType("KeyId", str)
AuditId = NewType("AuditId", str)
RequestId = NewType("RequestId", str)
EventJson = NewType("EventJson", str)
WebhookId = NewType("WebhookId", str)
TypesJson = NewType("TypesJson", str)
SigningSecret = NewType("SigningSecret", str)


class ResellerRow(NamedTuple):
    """A reseller.

    One that is removed stays, since its invitations name it. Its roles stay until it is added again, so
    that those who have them are told why they are refused. `reseller_details` has the form of
    `contact_details` and `return_origins`.
    """

    n: ResellerNumber
    id: ResellerId
    name: DisplayName
    created_at: Micros
    modified_at: Micros
    removed_at: Micros | None
    suspended_at: Micros | None
    contact: str | None
    contact_details: DetailsJson | None = None
    return_origins: OriginsJson | None = None


class CustomerRow(NamedTuple):
    """A customer and, where `invitation` is not 0, its invitation.

    n: the same as that of the operation that made it.
    person: a JSON object.
    invitation: the invitation's state, 0 without one; what follows is NULL then.
    email: where the customer was invited.
    address_key, slot: what a reseller has at most one open invitation for (`invitations.addresses`).
    latest: the operation that sent, or is to send, the invitation's latest e-mail.
    previous_…: what was there before it was sent again; a resend that fails gives it back.
    delivery: of an e-mail that came back, or that is not sent; NULL for all others.
    sent: a JSON array of what is known of the latest e-mail that was sent (`customer_rows`); NULL
        before.
    options: what else it says and does (`invitation_options`); NULL for nothing.
    external_id: what the reseller calls the customer; no two of its customers have the same.
    labels: a JSON object; NULL for none.
    deleted_at: when it was deleted; the row stays until it is purged.
    has_links: FALSE once the links to an ended invitation are cleared.
    invitation_id, operation_id, billing_account_id: NULL means that the ID ends like the customer's;
        rows from before version 0015 have others.
    """

    n: CustomerNumber
    id: CustomerId
    reseller: ResellerNumber
    state: CustomerStateCode
    name: DisplayName
    person: PersonJson
    created_at: Micros
    modified_at: Micros
    invitation: InvitationStateCode
    email: Email | None = None
    address_key: AddressKey | None = None
    slot: Slot | None = None
    expires_at: Micros | None = None
    latest: OperationNumber | None = None
    has_links: bool = True
    ended_at: Micros | None = None
    resent_at: Micros | None = None
    previous_latest: OperationNumber | None = None
    previous_resent_at: Micros | None = None
    previous_expires_at: Micros | None = None
    invitation_id: InvitationId | None = None
    operation_id: OperationId | None = None
    billing_account_id: AccountId | None = None
    delivery: DeliveryStateCode | None = None
    sent: DeliveryJson | None = None
    options: OptionsJson | None = None
    external_id: ExternalId | None = None
    labels: LabelsJson | None = None
    deleted_at: Micros | None = None


NO_CUSTOMER = CustomerNumber(0)


class OperationRow(NamedTuple):
    """The record that callers see and the unit of work behind it.

    id: NULL means that the ID ends like that of the customer with the same number, which it made.
    customer: the customer's number, NO_CUSTOMER where it is on none.
    customer_id, billing_account_id: the customer's IDs once it is taken back; NULL while it is there.
    deleted: kept for the idempotency keys that stand for it.
    due_at: when a worker may next take it up: at once for a new one, later after a failed try, and
        at the end of the lease while one has it (`claimed`); NULL once there is nothing to do, or
        while its reseller is held.
    attempts: counts claims, and fences.
    deferral: tells of the last try that failed, and keeps what is tried again apart from what is new.
    key, fingerprint: the idempotency key of the call that made it, as long as it counts.
    origin: the call that asked for it, for log and traces (`telemetry.origins`).
    cancelled_by: who has asked for the cancellation of what a worker was at.
    keyed_at: when the latest key came that stands for it and did not make it.
    """

    n: OperationNumber
    kind: OperationKindCode
    reseller: ResellerNumber
    customer: CustomerNumber
    created_by: SubjectId
    created_at: Micros
    modified_at: Micros
    done: bool
    id: OperationId | None = None
    due_at: Micros | None = None
    key: IdempotencyKeyHash | None = None
    fingerprint: Fingerprint | None = None
    deleted: bool = False
    claimed: bool = False
    attempts: Count = Count(0)
    cancel_requested: bool = False
    failure: FailureJson | None = None
    deferral: DeferralJson | None = None
    keyed_at: Micros | None = None
    customer_id: CustomerId | None = None
    billing_account_id: AccountId | None = None
    cancelled_by: ActorJson | None = None
    origin: str | None = None


class LinkRow(NamedTuple):
    """A link in an e-mail, or made for the reseller; it holds while `operation` is the customer's latest.

    `n` is a part of the hash (`invitations.links`), so that the table itself is the index. `email` is
    whom it was sent to, where the customer has got another address since.
    """

    n: LinkNumber
    hash: LinkHash
    customer: CustomerNumber
    operation: OperationNumber
    created_at: Micros
    email: Email | None = None


class IdempotencyKeyRow(NamedTuple):
    """A key of a call that made no operation, and what it stands for: an operation, or a customer."""

    key: IdempotencyKeyHash
    fingerprint: Fingerprint
    target_kind: TargetCode
    target: TargetNumber
    created_at: Micros


class CountRow(NamedTuple):
    """What limits are counted by.

    A scope is `customers/RESELLER`, or of e-mails `address/HASH` or the limit's name and the
    reseller. A row counts until its time, customers for ever.
    """

    scope: str
    counts_until: Micros
    count: Count  # type: ignore[assignment]  # the column's name; nobody counts in a row


class SuppressionRow(NamedTuple):
    """An address that nothing is sent to.

    n: grows with time: microseconds, or one more than the last.
    scope: that of its e-mails' counts, which is a hash; there it has a count that no limit allows.
    reseller, email: of one that bounced, for whom and which; NULL where its owner asked for it.
    error: what went wrong, a JSON array.
    """

    n: SuppressionNumber
    id: SuppressionId
    scope: str
    reason: SuppressionReasonCode
    reseller: ResellerNumber | None
    email: Email | None
    created_at: Micros
    error: ErrorJson | None


class ReminderRow(NamedTuple):
    """An e-mail that reminds of a pending invitation; deleted once it has gone out.

    n: the customer's number, so that there is one at a time.
    days: how many days before the invitation's end; requested_at: when that was.
    due_at and on: as of all due work (`work.due`).
    """

    n: CustomerNumber
    days: Count
    requested_at: Micros
    due_at: Micros | None
    claimed: bool = False
    attempts: Count = Count(0)
    deferral: DeferralJson | None = None


class EventRow(NamedTuple):
    """Something that happened (`events.log`); never changed afterwards.

    number: 1, 2, 3 and on, for each reseller.
    operation_id: NULL where there is none; "" where it ends like the ID of the customer in `data`.
    data: a JSON array, by `events.rows`.
    """

    reseller: ResellerNumber
    number: EventNumber
    type: EventTypeCode
    created_at: Micros
    subject: SubjectId
    key_id: KeyId | None
    request_id: RequestId | None
    customer: CustomerNumber | None
    operation_id: OperationId | None
    data: EventJson


class EventLogRow(NamedTuple):
    """The log of a reseller that has events. Who writes to it has this row locked until the commit.

    last: the number of the last event; cleared: up to which events are no longer kept.
    oldest_at: the time of the oldest that is kept, NULL while there is none.
    """

    reseller: ResellerNumber
    last: EventNumber
    cleared: EventNumber
    oldest_at: Micros | None


class LogMarkRow(NamedTuple):
    """A process that writes to SQLite: whether the file alone, without its log, is not whole.

    See `sql.log_marks`; on PostgreSQL there are none.
    """

    process: str
    at_s: int
    log_needed: Count


class RetentionRow(NamedTuple):
    """What has been cleared, and what began when: a row each.

    operations: a time; operations that ended before it may have been cleared.
    numbers: the greatest number of a cleared operation; it is never given to another.
    events: a time; what happened before it may have no event.
    expiring: a time; of invitations that end up to then it is told that they end soon.
    reminded: a time, up to which it has been looked whom to remind.
    mail_held: since when e-mails are held; there is none while they are not.
    webhooks: on SQLite the number of the latest webhook, which may be deleted; as above.
    """

    name: str
    value: int


resellers = table("resellers", metadata, ResellerRow, "n")
index("resellers_id", resellers.c.id, unique=True)

customers = table("customers", metadata, CustomerRow, "n", {"has_links": true()})
_c = customers.c
index("customers_id", _c.id, unique=True)
# Lists by state; lists of all states are merged from those of each. Those that are deleted stand
# apart, so that however many there are, lists of the others don't pass them by.
_is_living, _is_deleted = _c.deleted_at.is_(None), _c.deleted_at.is_not(None)
index("customers_by_state", _c.reseller, _c.invitation, _c.n, where=_is_living)
index("customers_deleted_by_state", _c.reseller, _c.invitation, _c.n, where=_is_deleted)
index(
    "customers_suspended",
    *(_c.reseller, _c.n),
    where=(_c.state == text(str(SUSPENDED))) & _is_living,
)
# Lists by address, and the one open invitation.
index(
    "customers_by_address",
    *(_c.address_key, _c.slot),
    where=_c.address_key.is_not(None),
    unique=True,
)
index("customers_lapsing", _c.expires_at, where=_c.invitation == text(str(PENDING)))
index("customers_ended", _c.ended_at, where=_c.ended_at.is_not(None) & _c.has_links)
index(
    "customers_undelivered",
    *(_c.reseller, _c.delivery, _c.invitation, _c.n),
    where=_c.delivery.is_not(None),
)
index(
    "customers_external_id",
    *(_c.reseller, _c.external_id),
    where=_c.external_id.is_not(None) & _is_living,
    unique=True,
)
index(
    "customers_deleted_external_id",
    *(_c.reseller, _c.external_id),
    where=_c.external_id.is_not(None) & _is_deleted,
)
index("customers_deleted", _c.deleted_at, where=_is_deleted)
index("customers_invitation_id", _c.invitation_id, where=_c.invitation_id.is_not(None), unique=True)
index(
    "customers_billing_account_id",
    _c.billing_account_id,
    where=_c.billing_account_id.is_not(None),
)

operations = table(
    "operations",
    metadata,
    OperationRow,
    "n",
    {
        "deleted": false(),
        "claimed": false(),
        "attempts": text("0"),
        "cancel_requested": false(),
    },
)
_o = operations.c
index("operations_id", _o.id, where=_o.id.is_not(None), unique=True)
_is_due, _is_new = _o.due_at.is_not(None), _o.deferral.is_(None)
index("operations_due", _o.due_at, where=_is_due & _is_new)
index("operations_deferred", _o.due_at, where=_is_due & ~_is_new)
index("operations_by_state", _o.reseller, _o.done, _o.n, where=~_o.deleted)
# Those that did not make their customer; the others have its number.
index("operations_customer", _o.customer, where=_o.id.is_not(None))
index("operations_finished", _o.modified_at, where=_o.done == true())
index("operations_key", _o.key, where=_o.key.is_not(None), unique=True)
index("operations_keyed", _o.created_at, where=_o.key.is_not(None))

link_tokens = table("link_tokens", metadata, LinkRow, "n")
index("link_tokens_customer", link_tokens.c.customer)

idempotency_keys = table("idempotency_keys", metadata, IdempotencyKeyRow, "key")
index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)

FOR_EVER = Micros(2**62)
counts = table("counts", metadata, CountRow, ("scope", "counts_until"))
counts.dialect_options["sqlite"]["with_rowid"] = False
index("ix_counts_counts_until", counts.c.counts_until)

suppressions = table("suppressions", metadata, SuppressionRow, "n")
index("suppressions_id", suppressions.c.id, unique=True)
index("suppressions_scope", suppressions.c.scope, unique=True)
index(
    "suppressions_by_reseller",
    *(suppressions.c.reseller, suppressions.c.n),
    where=suppressions.c.reseller.is_not(None),
)

reminders = table(
    "reminders", metadata, ReminderRow, "n", {"claimed": false(), "attempts": text("0")}
)
_r = reminders.c
index("reminders_due", _r.due_at, where=_r.due_at.is_not(None) & _r.deferral.is_(None))
index("reminders_deferred", _r.due_at, where=_r.due_at.is_not(None) & _r.deferral.is_not(None))

events = table("events", metadata, EventRow, ("reseller", "number"))
events.dialect_options["sqlite"]["with_rowid"] = False
index(
    "events_customer",
    *(events.c.customer, events.c.number),
    where=events.c.customer.is_not(None),
)

event_logs = table("event_logs", metadata, EventLogRow, "reseller")

log_marks = table("log_marks", metadata, LogMarkRow, "process")

CLEARED_OPERATIONS, CLEARED_NUMBERS, LOGGED_SINCE = "operations", "numbers", "events"
LATEST_WEBHOOK = "webhooks"
MAIL_HELD = "mail_held"
EXPIRING_TOLD = "expiring"
REMINDED = "reminded"
retention = table("retention", metadata, RetentionRow, "name")
