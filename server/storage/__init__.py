"""Keeps everything, on SQLite or PostgreSQL. The rest of the server sees it by `interface`."""

from server.storage.database import SchemaError
from server.storage.migrations import migrate
from server.storage.store import open_storage

__all__ = ["SchemaError", "migrate", "open_storage"]
