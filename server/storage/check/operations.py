"""Operations, and the idempotency keys that stand for them."""

from sqlalchemy import and_, func, or_

from server.domain.invitations import InvitationState
from server.domain.operations import OperationKind
from server.storage.check.checks import Check, differ, missing, only_one
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import (
    CUSTOMER_TARGET,
    EVENT_TARGET,
    INVITATION_STATE_CODES,
    INVITATION_TARGET,
    NO_INVITATION,
    OPERATION_KIND_CODES,
    OPERATION_TARGET,
    SUPPRESSION_TARGET,
    WEBHOOK_TARGET,
)
from server.storage.schema.tables import (
    NO_CUSTOMER,
    customers,
    idempotency_keys,
    operations,
    resellers,
)

_INVITE = OPERATION_KIND_CODES[OperationKind.INVITE]
_sends = operations.c.kind.in_([_INVITE, OPERATION_KIND_CODES[OperationKind.RESEND]])
_makes = operations.c.kind.in_(
    [_INVITE, OPERATION_KIND_CODES[OperationKind.CREATE_RESELLER_SERVED]]
)
_is_on_access = operations.c.kind == OPERATION_KIND_CODES[OperationKind.UPDATE_ACCESS]
_has_failed = operations.c.failure.is_not(None)
_is_gone = and_(missing(customers), ~_is_on_access)
# States that an invitation can't be in if its first e-mail could not be sent.
_ARRIVED = [
    INVITATION_STATE_CODES[state]
    for state in (InvitationState.PENDING, InvitationState.ACCEPTED, InvitationState.DECLINED)
]

_OPERATIONS = Check(
    operations.outerjoin(customers, customers.c.n == operations.c.customer).outerjoin(
        resellers, resellers.c.n == operations.c.reseller
    ),
    operations.c.n,
    {
        "an operation's kind is known": operations.c.kind.not_in(
            list(OPERATION_KIND_CODES.values())
        ),
        "an operation is of a known reseller": missing(resellers),
        "an operation ends after it began": operations.c.modified_at < operations.c.created_at,
        "an operation is done, due at some time, or held with its reseller": or_(
            and_(operations.c.done, operations.c.due_at.is_not(None)),
            and_(~operations.c.done, operations.c.due_at.is_(None), ~IS_HELD),
        ),
        "a claimed operation is not done, and is attempted": and_(
            operations.c.claimed, or_(operations.c.done, operations.c.attempts < 1)
        ),
        "a deferred operation sends an e-mail, and is attempted": and_(
            operations.c.deferral.is_not(None), or_(~_sends, operations.c.attempts < 1)
        ),
        "a failed operation is done": and_(_has_failed, ~operations.c.done),
        "a deleted operation is done": and_(operations.c.deleted, ~operations.c.done),
        "an operation to be cancelled is done, or claimed": and_(
            operations.c.cancel_requested, ~operations.c.done, ~operations.c.claimed
        ),
        "an operation sends an invitation's e-mail, or is done at once": or_(
            and_(_sends, customers.c.invitation == NO_INVITATION),
            and_(
                ~_sends,
                or_(~operations.c.done, operations.c.attempts > 0, _has_failed),
            ),
        ),
        # A deleted customer is removed in the end.
        "an operation that is not done has its customer": and_(~operations.c.done, _is_gone),
        "a failed Invite leaves no invitation that could be accepted": and_(
            operations.c.kind == _INVITE, _has_failed, customers.c.invitation.in_(_ARRIVED)
        ),
        "an operation keeps the IDs of its customer once that is gone, and not before": or_(
            only_one(_is_gone, operations.c.customer_id.is_not(None)),
            only_one(_is_gone, operations.c.billing_account_id.is_not(None)),
            and_(missing(customers), operations.c.id.is_(None)),
        ),
        "an operation on access has no customer, and every other one has": only_one(
            _is_on_access, operations.c.customer == NO_CUSTOMER
        ),
        "an operation makes the customer that has its number, and no other": only_one(
            _makes, operations.c.customer == operations.c.n
        ),
        "an operation without an ID of its own made its customer": and_(
            operations.c.id.is_(None), ~_makes
        ),
        "an operation and its customer have the same reseller": and_(
            ~missing(customers), differ((operations.c.reseller, customers.c.reseller))
        ),
        "of an invitation's operations only the latest is not done": and_(
            ~operations.c.done, ~missing(customers), differ((operations.c.n, customers.c.latest))
        ),
        "an operation has an idempotency key and its fingerprint, or neither": only_one(
            operations.c.key.is_(None), operations.c.fingerprint.is_(None)
        ),
    },
)

_operations = operations.alias("targets")
_same = operations.alias("same")
_KEYS = Check(
    idempotency_keys.outerjoin(
        _operations,
        and_(
            idempotency_keys.c.target_kind == OPERATION_TARGET,
            _operations.c.n == idempotency_keys.c.target,
        ),
    )
    .outerjoin(
        customers,
        and_(
            idempotency_keys.c.target_kind == INVITATION_TARGET,
            customers.c.n == idempotency_keys.c.target,
            customers.c.invitation != NO_INVITATION,
        ),
    )
    .outerjoin(_same, _same.c.key == idempotency_keys.c.key),
    idempotency_keys.c.target,
    {
        # A webhook or a customer may be deleted, and an event cleared, while the key is kept.
        "an idempotency key stands for something": and_(
            missing(_operations),
            missing(customers),
            idempotency_keys.c.target_kind.not_in(
                [WEBHOOK_TARGET, EVENT_TARGET, CUSTOMER_TARGET, SUPPRESSION_TARGET]
            ),
        ),
        "an idempotency key stands for one thing": ~missing(_same),
        "an operation is kept for the keys that did not make it": and_(
            ~missing(_operations),
            func.coalesce(_operations.c.keyed_at, 0) < idempotency_keys.c.created_at,
        ),
    },
)

CHECKS = (_OPERATIONS, _KEYS)
