"""All checks of what is always true of the database, between any two transactions.

An invariant is written as what breaks it. What retention has cleared is not missed.
"""

from server.storage.check import access, customers, events, invitations, operations, roles, webhooks
from server.storage.check.checks import Check, RowCheck

CHECKS: tuple[Check, ...] = (
    *operations.CHECKS,
    *customers.CHECKS,
    *invitations.CHECKS,
    *access.CHECKS,
    *events.CHECKS,
    *webhooks.CHECKS,
)
ROW_CHECKS: tuple[RowCheck, ...] = (
    *invitations.ROW_CHECKS,
    *access.ROW_CHECKS,
    *events.ROW_CHECKS,
    *roles.ROW_CHECKS,
)
