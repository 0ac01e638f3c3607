"""Bringing the schema up to date. Migrations are append-only."""

from server.storage.database import Database, SchemaError
from server.storage.failures import refusal

# Any number will do, if no one else uses it.
_LOCK = 7_346_911


def migrate(database_url: str) -> None:
    """Applies the migrations that the database lacks, in one transaction.

    Any number of processes may do so at once: one works, the others wait for it. Raises SchemaError
    for a schema of a newer release, STORAGE_UNAVAILABLE if the database can't be reached, ValueError
    for a URL of another kind.
    """
    # Only here: a server that finds its schema in order starts without it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    database = Database(database_url, patient=True, make=True)
    config = Config()
    config.set_main_option("script_location", "server.storage:migrations")
    try:
        with database.engine.begin() as connection:
            if not database.is_sqlite:  # SQLite's transactions hold the write lock
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(f"this release does not know the database's schema: {error}") from None
    except Exception as error:
        raise refusal(error) from None
