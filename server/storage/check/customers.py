"""Customers: how each was made, and the state that its invitation gives it."""

from sqlalchemy import BigInteger, and_, case, func, literal, not_, or_, select

from server.domain.customers import CustomerState
from server.domain.invitations import CUSTOMER_STATES
from server.domain.operations import OperationKind
from server.domain.suppressions import SuppressionReason
from server.storage.check.checks import CLEARED_BEFORE, Check, missing, only_one
from server.storage.count_rules import SUPPRESSED
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    INVITATION_STATE_CODES,
    NO_INVITATION,
    OPERATION_KIND_CODES,
    PENDING,
    SUPPRESSION_REASON_CODES,
)
from server.storage.schema.tables import (
    FOR_EVER,
    counts,
    customers,
    operations,
    resellers,
    suppressions,
)

_c = customers.c
_BOUNCED = SUPPRESSION_REASON_CODES[SuppressionReason.BOUNCED]
_is_invited = _c.invitation != NO_INVITATION
# What Activate and Suspend can make of an active one.
_IN_USE = [CUSTOMER_STATE_CODES[state] for state in (CustomerState.ACTIVE, CustomerState.SUSPENDED)]

_fits = or_(
    and_(~_is_invited, _c.state.in_(_IN_USE)),
    *(
        and_(
            _c.invitation == INVITATION_STATE_CODES[invitation],
            _c.state.in_(
                _IN_USE if state is CustomerState.ACTIVE else [CUSTOMER_STATE_CODES[state]]
            ),
        )
        for invitation, state in CUSTOMER_STATES.items()
    ),
)

_CUSTOMERS = Check(
    customers.outerjoin(operations, operations.c.n == _c.n).outerjoin(
        resellers, resellers.c.n == _c.reseller
    ),
    _c.id,
    {
        "a customer is of a known reseller": missing(resellers),
        "a customer changes after it was made": _c.modified_at < _c.created_at,
        "a customer has the operation that made it": or_(
            and_(missing(operations), _c.created_at >= CLEARED_BEFORE),
            and_(
                ~missing(operations),
                operations.c.kind
                != case(
                    (_is_invited, OPERATION_KIND_CODES[OperationKind.INVITE]),
                    else_=OPERATION_KIND_CODES[OperationKind.CREATE_RESELLER_SERVED],
                ),
            ),
        ),
        "a customer with an invitation has all its parts, and one without has none": or_(
            *(
                only_one(_is_invited, part.is_not(None))
                for part in (_c.email, _c.address_key, _c.slot, _c.expires_at, _c.latest)
            ),
            and_(
                ~_is_invited,
                or_(*(part.is_not(None) for part in (_c.ended_at, _c.resent_at, _c.options))),
            ),
        ),
        "a deleted customer has no open invitation": and_(
            _c.deleted_at.is_not(None), _c.invitation == PENDING
        ),
        "a customer's state is what its invitation's makes it": not_(_fits),
    },
)

_by_reseller = select(_c.reseller, func.count().label("number")).group_by(_c.reseller).subquery()
_COUNTED = Check(
    resellers.outerjoin(_by_reseller, _by_reseller.c.reseller == resellers.c.n).outerjoin(
        counts, counts.c.scope == literal("customers/") + resellers.c.id
    ),
    resellers.c.id,
    {
        "a reseller has as many customers as are counted": func.coalesce(counts.c.count, 0)
        != func.coalesce(_by_reseller.c.number, 0)
    },
)
_COUNTS = Check(
    counts,
    counts.c.scope,
    {
        "an e-mail that is counted was accepted, and not for ever": or_(
            # Less is counted for an address that an invitation came to by a correction.
            (counts.c.count < 0) & ~counts.c.scope.startswith("address/"),
            (
                counts.c.scope.startswith("customers/")
                | counts.c.scope.startswith("address/") & counts.c.count.in_(SUPPRESSED.values())
            )
            != (counts.c.counts_until == FOR_EVER),
        )
    },
)
_suppression_counts = counts.alias("suppression_counts")
_is_counted = and_(
    _suppression_counts.c.scope == suppressions.c.scope,
    _suppression_counts.c.counts_until == FOR_EVER,
)
_SUPPRESSED_COUNT = case(
    {
        SUPPRESSION_REASON_CODES[reason]: literal(count, BigInteger)
        for reason, count in SUPPRESSED.items()
    },
    value=suppressions.c.reason,
    else_=0,
)
_SUPPRESSIONS = Check(
    suppressions.outerjoin(_suppression_counts, _is_counted),
    suppressions.c.id,
    {
        "an address that nothing is sent to is counted beyond all limits": func.coalesce(
            _suppression_counts.c.count, -1
        )
        != _SUPPRESSED_COUNT,
        "an address that bounced is kept, for whom it did; one whose owner asked is not": or_(
            only_one(suppressions.c.reason == _BOUNCED, suppressions.c.reseller.is_not(None)),
            only_one(suppressions.c.reason == _BOUNCED, suppressions.c.email.is_not(None)),
        ),
    },
)
_UNCOUNTED = Check(
    _suppression_counts.outerjoin(suppressions, _is_counted),
    _suppression_counts.c.scope,
    {
        "an address that is counted for ever is one that nothing is sent to": and_(
            _suppression_counts.c.scope.startswith("address/"),
            _suppression_counts.c.counts_until == FOR_EVER,
            missing(suppressions),
        )
    },
)

CHECKS = (_CUSTOMERS, _COUNTED, _COUNTS, _SUPPRESSIONS, _UNCOUNTED)
