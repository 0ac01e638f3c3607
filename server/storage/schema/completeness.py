"""Whether a database has what its version says. A version that was set by hand says something else."""

from typing import Any

from server.storage.schema import access_tables, webhook_tables
from server.storage.schema.tables import metadata

# Those of these modules are in `metadata` once they are imported.
_ALL_TABLES = access_tables, webhook_tables
_MOST_NAMED = 3

# Columns with their tables, and indexes.
_ON_SQLITE = (
    "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c "
    "WHERE t.type = 'table' UNION ALL SELECT name FROM sqlite_master WHERE type = 'index'"
)
_ON_POSTGRESQL = (
    "SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c "
    "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND c.relkind IN ('r', 'p') "
    "AND a.attnum > 0 AND NOT a.attisdropped "
    "WHERE c.relkind IN ('r', 'p', 'i', 'I') AND c.relnamespace != 'pg_catalog'::regnamespace "
    "AND pg_table_is_visible(c.oid)"
)


def lacking(cursor: Any, *, is_sqlite: bool) -> list[str]:
    """Returns which columns and indexes of this release's schema a database lacks."""
    cursor.execute(_ON_SQLITE if is_sqlite else _ON_POSTGRESQL)
    found = {name for (name,) in cursor.fetchall()}
    wanted = [
        *(f"{table.name}.{column.name}" for table in _tables() for column in table.columns),
        *(str(index.name) for table in _tables() for index in table.indexes),
    ]
    return sorted(name for name in wanted if name not in found)


def named(names: list[str]) -> str:
    """Returns the first of them, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _tables() -> Any:
    return metadata.tables.values()
