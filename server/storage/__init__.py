"""Keeps everything, on SQLite or PostgreSQL. The rest of the server sees it by `interface`."""

from server.storage.schema.migrations import migrate
from server.storage.sql.connections import SchemaError
from server.storage.storage import open_storage

__all__ = ["SchemaError", "migrate", "open_storage"]
