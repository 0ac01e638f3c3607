"""Operations, and the idempotency keys that stand for them."""

from sqlalchemy import and_, func, or_

from server.domain.invitations import InvitationState
from server.domain.operations import OperationKind
from server.storage.invariants.subjects import Subject, differ, missing, only_one
from server.storage.rows import IS_HELD
from server.storage.schema import (
    customers,
    idempotency_keys,
    invitations,
    operations,
    resellers,
)

_sends = operations.c.kind.in_([OperationKind.INVITE.value, OperationKind.RESEND.value])
_has_failed = operations.c.failure.is_not(None)
# What an invitation is not, whose first e-mail could not be sent.
_ARRIVED = [
    state.value
    for state in (InvitationState.PENDING, InvitationState.ACCEPTED, InvitationState.DECLINED)
]

_OPERATIONS = Subject(
    operations.outerjoin(customers, customers.c.id == operations.c.customer_id)
    .outerjoin(invitations, invitations.c.id == operations.c.invitation_id)
    .outerjoin(resellers, resellers.c.id == operations.c.reseller_id),
    operations.c.id,
    {
        "an operation's kind is known": operations.c.kind.not_in(
            [kind.value for kind in OperationKind]
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
            and_(_sends, operations.c.invitation_id.is_(None)),
            and_(
                ~_sends,
                or_(
                    operations.c.invitation_id.is_not(None),
                    ~operations.c.done,
                    operations.c.attempts > 0,
                    _has_failed,
                ),
            ),
        ),
        "an operation that has not failed has its customer": and_(~_has_failed, missing(customers)),
        "an e-mail that has not failed has its invitation": and_(
            _sends, ~_has_failed, missing(invitations)
        ),
        "a failed Invite leaves no invitation that could be accepted": and_(
            operations.c.kind == OperationKind.INVITE.value,
            _has_failed,
            invitations.c.state.in_(_ARRIVED),
        ),
        "a failed Invite leaves no customer, or one with an ended invitation": and_(
            operations.c.kind == OperationKind.INVITE.value,
            _has_failed,
            only_one(missing(customers), missing(invitations)),
        ),
        "an operation and its customer have the same reseller and account": and_(
            ~missing(customers),
            differ(
                (operations.c.reseller_id, customers.c.reseller_id),
                (operations.c.billing_account_id, customers.c.billing_account_id),
            ),
        ),
        "an operation and its invitation have the same customer": and_(
            ~missing(invitations), differ((operations.c.customer_id, invitations.c.customer_id))
        ),
        "of an invitation's operations only the latest is not done": and_(
            ~operations.c.done,
            ~missing(invitations),
            differ((operations.c.id, invitations.c.latest_operation_id)),
        ),
    },
)

_KEYS = Subject(
    idempotency_keys.outerjoin(
        operations, operations.c.id == idempotency_keys.c.target_id
    ).outerjoin(invitations, invitations.c.id == idempotency_keys.c.target_id),
    idempotency_keys.c.target_id,
    {
        "an idempotency key stands for something": and_(missing(operations), missing(invitations)),
        "an operation is kept for the keys that came after it": and_(
            idempotency_keys.c.created_at > operations.c.created_at,
            func.coalesce(operations.c.keyed_at, 0) < idempotency_keys.c.created_at,
        ),
    },
)

SUBJECTS = (_OPERATIONS, _KEYS)
