"""Keeps everything, on SQLite or PostgreSQL. The rest of the server sees it by `interface`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.storage.schema.migrations import migrate
    from server.storage.sql.connections import SchemaError
    from server.storage.storage import open_storage

__all__ = ["SchemaError", "migrate", "open_storage"]


def __getattr__(name: str) -> Any:
    """Reads what is asked for: the interface alone needs no library for databases, which takes long."""
    if name not in __all__:
        raise AttributeError(name)
    from server.storage import storage
    from server.storage.schema import migrations
    from server.storage.sql import connections

    return {
        "SchemaError": connections.SchemaError,
        "migrate": migrations.migrate,
        "open_storage": storage.open_storage,
    }[name]
