"""Customers: how each was made, and the state that its invitation gives it."""

from sqlalchemy import and_, func, literal, not_, or_, select, true

from server.domain.customers import CustomerState
from server.domain.invitations import CUSTOMER_STATES
from server.domain.operations import OperationKind
from server.storage.invariants.subjects import CLEARED_BEFORE, Subject, missing, only_one
from server.storage.schema import (
    FOR_EVER,
    counts,
    customers,
    invitations,
    operations,
    resellers,
)

_MAKING = [OperationKind.INVITE.value, OperationKind.CREATE_RESELLER_SERVED.value]
# What Activate and Suspend can make of an active one.
_IN_USE = [CustomerState.ACTIVE.value, CustomerState.SUSPENDED.value]

_fits = or_(
    and_(missing(invitations), customers.c.state.in_(_IN_USE)),
    *(
        and_(
            ~missing(invitations),
            invitations.c.state == invitation.value,
            customers.c.state.in_(_IN_USE if state.value in _IN_USE else [state.value]),
        )
        for invitation, state in CUSTOMER_STATES.items()
    ),
)

_CUSTOMERS = Subject(
    customers.outerjoin(invitations, invitations.c.customer_id == customers.c.id)
    .outerjoin(
        operations,
        and_(operations.c.customer_id == customers.c.id, operations.c.kind.in_(_MAKING)),
    )
    .outerjoin(resellers, resellers.c.id == customers.c.reseller_id),
    customers.c.id,
    {
        "a customer is of a known reseller": missing(resellers),
        "a customer changes after it was made": customers.c.modified_at < customers.c.created_at,
        "a customer has the operation that made it": and_(
            missing(operations), customers.c.created_at >= CLEARED_BEFORE
        ),
        "a customer with an address has an invitation, and no other": only_one(
            customers.c.email.is_not(None), ~missing(invitations)
        ),
        "a customer's state is what its invitation's makes it": not_(_fits),
    },
)

_of_one_customer = (
    select(invitations.c.customer_id)
    .group_by(invitations.c.customer_id)
    .having(func.count() > 1)
    .subquery()
)
_SEVERAL = Subject(
    _of_one_customer,
    _of_one_customer.c.customer_id,
    {"a customer has one invitation at most": true()},
)

_by_reseller = (
    select(customers.c.reseller_id, func.count().label("number"))
    .group_by(customers.c.reseller_id)
    .subquery()
)
_COUNTED = Subject(
    resellers.outerjoin(_by_reseller, _by_reseller.c.reseller_id == resellers.c.id).outerjoin(
        counts, counts.c.scope == literal("customers/") + resellers.c.id
    ),
    resellers.c.id,
    {
        "a reseller has as many customers as are counted": func.coalesce(counts.c.count, 0)
        != func.coalesce(_by_reseller.c.number, 0)
    },
)
_COUNTS = Subject(
    counts,
    counts.c.scope,
    {
        "an e-mail that is counted was accepted, and not for ever": or_(
            counts.c.count < 0,
            counts.c.scope.startswith("customers/") != (counts.c.counts_until == FOR_EVER),
        )
    },
)

SUBJECTS = (_CUSTOMERS, _SEVERAL, _COUNTED, _COUNTS)
