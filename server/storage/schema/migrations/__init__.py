"""Bringing the schema up to date. Migrations are append-only."""

import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError

from server.storage.schema.completeness import lacking, named
from server.storage.schema.new_schema import make_schema, versions
from server.storage.schema.tables import REVISION, metadata
from server.storage.sql.connections import Database, SchemaError, require_complete
from server.storage.sql.driver_errors import ErrorClass, classify, to_billing_error

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
    for a schema of a newer release, or of another version than it says, STORAGE_UNAVAILABLE if the database can't be reached, ValueError
    for a URL of another kind.
    """
    database = Database(database_url, no_timeout=True, make=True, pooled=pooled)
    try:
        with database.engine.begin() as connection:
            if not database.is_sqlite:  # SQLite's transactions hold the write lock
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            found = _versions(connection)
            if not found:
                _require_empty(connection)
                make_schema(connection)
            elif found != [REVISION]:
                _upgrade(connection, found, before, progress)
            else:
                require_complete(_cursor(connection), is_sqlite=database.is_sqlite)
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
    return list(map(str, connection.scalars(select(versions.c.version_num))))


def _require_empty(connection: Connection) -> None:
    """Raises SchemaError for tables that are called as this service's, and no version that tells of them."""
    there = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if there:
        raise SchemaError(
            f"the database has tables {named(there)}, but no version in alembic_version: restore a "
            "backup, or set BILLING_DATABASE_URL to a database of its own; nothing was changed"
        )


def _upgrade(
    connection: Connection,
    found: list[str],
    before: Callable[[str], None] | None,
    progress: Progress | None,
) -> None:
    """Applies what is missing to a schema of an earlier version; raises SchemaError for others."""
    # Only here: a schema that is new or in order does without it.
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    is_sqlite = connection.dialect.name == "sqlite"
    version = ", ".join(sorted(found))
    require_older(version, _cursor(connection), is_sqlite=is_sqlite)
    if before:
        before(version)
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        if classify(error) not in (ErrorClass.UNEXPECTED, ErrorClass.CONFLICT, ErrorClass.UNFIT):
            raise
    else:
        if not lacking(_cursor(connection), is_sqlite=is_sqlite):
            return
    raise SchemaError(
        f"the database says that its schema is at version {version}, but what is in it is not: if the "
        "version was set by hand, set it back in alembic_version, else restore a backup; nothing was "
        "changed"
    )


def require_older(version: str, cursor: Any, *, is_sqlite: bool) -> None:
    """Raises SchemaError for a version that no release had, or that what is in the database belies.

    A version that another older schema says is only found out by its migration.
    """
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    known = sorted(script.revision for script in scripts.walk_revisions())
    if version not in known:
        raise SchemaError(
            f"this release knows schemas of the versions {known[0]} to {known[-1]}, and the database "
            f"says {version or 'nothing'}: run `billing-server migrate` of the release that made it; if the version "
            "was set by hand, set it back in alembic_version; nothing was changed"
        )
    if not lacking(cursor, is_sqlite=is_sqlite):
        raise SchemaError(
            f"the database says that its schema is at version {version}, but it has all of {REVISION}: "
            f"set the version in alembic_version to {REVISION}, or restore a backup; nothing was changed"
        )


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "server.storage.schema:migrations")
    return config


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


def _name(connection: Connection) -> None:
    """Gives a SQLite database a number of its own, by which processes tell it from any other."""
    if not connection.exec_driver_sql("PRAGMA application_id").scalar():
        connection.exec_driver_sql(
            f"PRAGMA application_id = {1 + secrets.randbelow((1 << 31) - 1)}"
        )
