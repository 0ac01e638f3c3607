"""States and kinds as the database keeps them: small numbers, never changed and never used again."""

from typing import NewType

from server.domain.customers import CustomerState
from server.domain.events import EventType
from server.domain.invitations import InvitationState
from server.domain.mail import DeliveryState
from server.domain.operations import OperationKind
from server.domain.suppressions import SuppressionReason
from server.domain.webhooks import ContentType
from server.storage.schema.columns import Code

CustomerStateCode = NewType("CustomerStateCode", Code)
InvitationStateCode = NewType("InvitationStateCode", Code)
OperationKindCode = NewType("OperationKindCode", Code)
TargetCode = NewType("TargetCode", Code)
DeliveryStateCode = NewType("DeliveryStateCode", Code)
SuppressionReasonCode = NewType("SuppressionReasonCode", Code)
EventTypeCode = NewType("EventTypeCode", Code)
ContentTypeCode = NewType("ContentTypeCode", Code)

CUSTOMER_STATE_CODES = {
    state: CustomerStateCode(Code(code))
    for state, code in {
        CustomerState.ACCEPTANCE_REQUIRED: 1,
        CustomerState.ACTIVE: 2,
        CustomerState.SUSPENDED: 3,
        CustomerState.INACTIVE: 4,
    }.items()
}
SUSPENDED = CUSTOMER_STATE_CODES[CustomerState.SUSPENDED]
CUSTOMER_STATES = {code: state for state, code in CUSTOMER_STATE_CODES.items()}

# A customer that was not invited.
NO_INVITATION = InvitationStateCode(Code(0))
INVITATION_STATE_CODES = {
    state: InvitationStateCode(Code(code))
    for state, code in {
        InvitationState.PENDING: 1,
        InvitationState.ACCEPTED: 2,
        InvitationState.DECLINED: 3,
        InvitationState.REVOKED: 4,
        InvitationState.EXPIRED: 5,
    }.items()
}
INVITATION_STATES = {code: state for state, code in INVITATION_STATE_CODES.items()}
PENDING = INVITATION_STATE_CODES[InvitationState.PENDING]
EXPIRED = INVITATION_STATE_CODES[InvitationState.EXPIRED]

# Of those e-mails that are neither sent nor on their way.
DELIVERY_STATE_CODES = {
    state: DeliveryStateCode(Code(code))
    for state, code in {
        DeliveryState.BOUNCED: 1,
        DeliveryState.SUPPRESSED: 2,
        DeliveryState.LINK_ONLY: 3,
    }.items()
}
LINK_ONLY = DELIVERY_STATE_CODES[DeliveryState.LINK_ONLY]
DELIVERY_STATES = {code: state for state, code in DELIVERY_STATE_CODES.items()}

SUPPRESSION_REASON_CODES = {
    reason: SuppressionReasonCode(Code(code))
    for reason, code in {SuppressionReason.BOUNCED: 1, SuppressionReason.REQUESTED: 2}.items()
}
SUPPRESSION_REASONS = {code: reason for reason, code in SUPPRESSION_REASON_CODES.items()}

OPERATION_KIND_CODES = {
    kind: OperationKindCode(Code(code))
    for kind, code in {
        OperationKind.INVITE: 1,
        OperationKind.RESEND: 2,
        OperationKind.CREATE_RESELLER_SERVED: 3,
        OperationKind.ACTIVATE: 4,
        OperationKind.SUSPEND: 5,
        OperationKind.UPDATE_ACCESS: 6,
    }.items()
}
OPERATION_KINDS = {code: kind for kind, code in OPERATION_KIND_CODES.items()}

# What an idempotency key of a call stands for that makes no operation.
OPERATION_TARGET = TargetCode(Code(1))
INVITATION_TARGET = TargetCode(Code(2))
WEBHOOK_TARGET = TargetCode(Code(3))
# An event of the reseller that the request is about, by its number in the log.
EVENT_TARGET = TargetCode(Code(4))
CUSTOMER_TARGET = TargetCode(Code(5))
SUPPRESSION_TARGET = TargetCode(Code(6))

EVENT_TYPE_CODES = {
    type_: EventTypeCode(Code(code))
    for type_, code in {
        EventType.CUSTOMER_INVITED: 1,
        EventType.CUSTOMER_CREATED: 2,
        EventType.CUSTOMER_ACTIVATED: 3,
        EventType.CUSTOMER_SUSPENDED: 4,
        EventType.INVITATION_SENT: 5,
        EventType.INVITATION_UNDELIVERABLE: 6,
        EventType.INVITATION_CANCELLED: 7,
        EventType.INVITATION_RESENT: 8,
        EventType.INVITATION_ACCEPTED: 9,
        EventType.INVITATION_DECLINED: 10,
        EventType.INVITATION_REVOKED: 11,
        EventType.INVITATION_EXPIRED: 12,
        EventType.WEBHOOK_CREATED: 13,
        EventType.WEBHOOK_UPDATED: 14,
        EventType.WEBHOOK_DELETED: 15,
        EventType.WEBHOOK_ENABLED: 16,
        EventType.WEBHOOK_DISABLED: 17,
        EventType.WEBHOOK_TEST: 18,
        EventType.ACCESS_GRANTED: 19,
        EventType.ACCESS_REVOKED: 20,
        EventType.CUSTOMER_UPDATED: 21,
        EventType.CUSTOMER_DELETED: 22,
        EventType.CUSTOMER_UNDELETED: 23,
        EventType.CUSTOMER_ERASED: 24,
        EventType.INVITATION_BOUNCED: 25,
        EventType.INVITATION_REMINDED: 26,
        EventType.INVITATION_EXPIRING: 27,
        EventType.INVITATION_RENEWAL_REQUESTED: 28,
        EventType.INVITATION_LINK_CREATED: 29,
        EventType.INVITATION_UPDATED: 30,
    }.items()
}
EVENT_TYPES = {code: type_ for type_, code in EVENT_TYPE_CODES.items()}

CONTENT_TYPE_CODES = {
    type_: ContentTypeCode(Code(code))
    for type_, code in {ContentType.CLOUDEVENTS: 1, ContentType.JSON: 2}.items()
}
CONTENT_TYPES = {code: type_ for type_, code in CONTENT_TYPE_CODES.items()}
