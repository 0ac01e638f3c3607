"""Bringing the schema up to date. Migrations are append-only."""

from server.storage.database import Database

# Any number will do, if no one else uses it.
_LOCK = 7_346_911


def migrate(database_url: str) -> None:
    """Applies the migrations that the database lacks, in one transaction.

    Any number of processes may do so at once. Raises the driver's error, or ValueError for a URL of
    another kind.
    """
    # Only here: a server that finds its schema in order starts without it.
    from alembic import command
    from alembic.config import Config

    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", "server.storage:migrations")
    with database.engine.begin() as connection:
        if not database.is_sqlite:  # SQLite's transactions hold the write lock
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
