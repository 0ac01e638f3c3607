"""Invitations, from being made to their end, and the links to them."""

from sqlalchemy import and_, exists, func, literal, or_, select, true

from server.domain.invitations import InvitationState
from server.domain.operations import OperationKind
from server.storage.invariants.subjects import CLEARED_BEFORE, Subject, differ, missing, only_one
from server.storage.schema import customers, invitations, link_tokens, operations

_made = operations.alias("made")
_latest = operations.alias("latest")
_link = exists().where(link_tokens.c.invitation_id == invitations.c.id)
_is_pending = invitations.c.state == InvitationState.PENDING.value

_INVITATIONS = Subject(
    invitations.outerjoin(customers, customers.c.id == invitations.c.customer_id)
    .outerjoin(_made, _made.c.id == invitations.c.operation_id)
    .outerjoin(_latest, _latest.c.id == invitations.c.latest_operation_id),
    invitations.c.id,
    {
        "an invitation's state is known": invitations.c.state.not_in(
            [state.value for state in InvitationState]
        ),
        "an invitation is open while it is pending": only_one(
            _is_pending, invitations.c.open_key.is_not(None)
        ),
        "an invitation that is not pending has ended at some time": only_one(
            _is_pending, invitations.c.ended_at.is_(None)
        ),
        "an invitation expires and ends after it was made": or_(
            invitations.c.expires_at <= invitations.c.created_at,
            func.coalesce(invitations.c.ended_at, invitations.c.created_at)
            < invitations.c.created_at,
        ),
        "an invitation and its customer have the same reseller and address": differ(
            (invitations.c.customer_id, customers.c.id),
            (invitations.c.reseller_id, customers.c.reseller_id),
            (invitations.c.email, customers.c.email),
        ),
        "an invitation has the Invite that made it": or_(
            and_(missing(_made), invitations.c.created_at >= CLEARED_BEFORE),
            and_(
                ~missing(_made),
                differ(
                    (_made.c.kind, literal(OperationKind.INVITE.value)),
                    (_made.c.invitation_id, invitations.c.id),
                ),
            ),
        ),
        "an invitation has the operation that sent it last": or_(
            and_(
                missing(_latest),
                func.coalesce(invitations.c.resent_at, invitations.c.created_at) >= CLEARED_BEFORE,
            ),
            and_(~missing(_latest), differ((_latest.c.invitation_id, invitations.c.id))),
        ),
        "an invitation was sent again by another operation than at first": only_one(
            invitations.c.resent_at.is_(None),
            invitations.c.latest_operation_id == invitations.c.operation_id,
        ),
        "an invitation that was sent again is not as before": and_(
            invitations.c.previous_operation_id.is_not(None),
            or_(
                invitations.c.resent_at.is_(None),
                invitations.c.previous_expires_at.is_(None),
                invitations.c.previous_operation_id == invitations.c.latest_operation_id,
            ),
        ),
        "a pending invitation's resend that failed is undone": and_(
            _is_pending,
            invitations.c.previous_operation_id.is_not(None),
            _latest.c.failure.is_not(None),
        ),
        "a pending invitation that was sent can be accepted by a link": and_(
            _is_pending,
            _latest.c.done,
            _latest.c.failure.is_(None),
            ~_link.where(link_tokens.c.operation_id == invitations.c.latest_operation_id),
        ),
        "an invitation's links are cleared after its end, and all of them": and_(
            ~invitations.c.linked, or_(_is_pending, _link)
        ),
    },
)

_with_one_key = (
    select(func.min(invitations.c.id).label("id"))
    .where(invitations.c.open_key.is_not(None))
    .group_by(invitations.c.open_key)
    .having(func.count() > 1)
    .subquery()
)
_SEVERAL = Subject(
    _with_one_key,
    _with_one_key.c.id,
    {"one open invitation has the same reseller, address and tax number": true()},
)

_LINKS = Subject(
    link_tokens.outerjoin(invitations, invitations.c.id == link_tokens.c.invitation_id).outerjoin(
        operations, operations.c.id == link_tokens.c.operation_id
    ),
    link_tokens.c.invitation_id,
    {
        "a link leads to an invitation": missing(invitations),
        "a link was sent by an operation of its invitation": or_(
            and_(missing(operations), link_tokens.c.created_at >= CLEARED_BEFORE),
            and_(
                ~missing(operations),
                differ((operations.c.invitation_id, link_tokens.c.invitation_id)),
            ),
        ),
        "an operation that sent a link has attempted to": operations.c.attempts < 1,
    },
)

SUBJECTS = (_INVITATIONS, _SEVERAL, _LINKS)
