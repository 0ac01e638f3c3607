"""Proving that the database is consistent: what is always true between any two transactions."""

from server.storage.check.consistency import Finding, check

__all__ = ["Finding", "check"]
