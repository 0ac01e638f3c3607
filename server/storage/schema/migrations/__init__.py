"""Bringing the schema up to date. Migrations are append-only."""

import secrets
from collections.abc import Callable

from sqlalchemy import Connection, inspect, select

from server.storage.schema.new_schema import make_schema, versions
from server.storage.schema.tables import REVISION
from server.storage.sql.connections import Database, SchemaError
from server.storage.sql.driver_errors import to_billing_error

# Any number will do, if no one else uses it.
_LOCK = 7_346_911


# Is told how many rows are done, and of how many.
Progress = Callable[[int, int], None]


def migrate(
    database_url: str,
    before: Callable[[str], None] | None = None,
    progress: Progress | None = None,
    *,
    pooled: bool = False,
) -> None:
    """Makes the tables of a new database, or applies the migrations that one lacks; in one transaction.

    Interrupted anywhere it has changed nothing. `before` is told the version of a schema that is to
    be changed, before anything is; `progress` is told by migrations that copy rows.

    Any number of processes may do so at once: one works, the others wait for it. Raises SchemaError
    for a schema of a newer release, STORAGE_UNAVAILABLE if the database can't be reached, ValueError
    for a URL of another kind.
    """
    database = Database(database_url, no_timeout=True, make=True, pooled=pooled)
    try:
        with database.engine.begin() as connection:
            if not database.is_sqlite:  # SQLite's transactions hold the write lock
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            found = _versions(connection)
            if not found:
                make_schema(connection)
            elif found != [REVISION]:
                if before and max(found) < REVISION:
                    before(max(found))
                _upgrade(connection, progress)
            if database.is_sqlite:
                _name(connection)
    except SchemaError:
        raise
    except Exception as error:
        raise to_billing_error(error) from None


def _versions(connection: Connection) -> list[str]:
    """Returns the version of the schema, nothing where there is none."""
    if not inspect(connection).has_table(versions.name):
        return []
    return list(connection.scalars(select(versions.c.version_num)))


def _upgrade(connection: Connection, progress: Progress | None) -> None:
    """Applies what is missing to a schema of an earlier version; raises SchemaError for others."""
    # Only here: a schema that is new or in order does without it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "server.storage.schema:migrations")
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(f"this release does not know the database's schema: {error}") from None


def _name(connection: Connection) -> None:
    """Gives a SQLite database a number of its own, by which processes tell it from any other."""
    if not connection.exec_driver_sql("PRAGMA application_id").scalar():
        connection.exec_driver_sql(
            f"PRAGMA application_id = {1 + secrets.randbelow((1 << 31) - 1)}"
        )
