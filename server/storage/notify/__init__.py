"""Telling those who wait, in all processes, what has been committed."""
