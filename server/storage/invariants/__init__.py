"""What is always true of the database, between any two transactions.

An invariant is written as what breaks it. What retention has cleared is not missed.
"""

from server.storage.invariants import access, customers, invitations, operations
from server.storage.invariants.subjects import Subject

SUBJECTS: tuple[Subject, ...] = (
    *operations.SUBJECTS,
    *customers.SUBJECTS,
    *invitations.SUBJECTS,
    *access.SUBJECTS,
)

__all__ = ["SUBJECTS", "Subject"]
