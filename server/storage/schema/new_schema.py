"""The schema of a new database, made at once: what the migrations make of an empty one.

They take fifty times as long. A test holds the two to be the same, on both databases.
"""

import time

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert

from server.storage.schema import access_tables, webhook_tables
from server.storage.schema.tables import (
    CLEARED_NUMBERS,
    CLEARED_OPERATIONS,
    LATEST_WEBHOOK,
    LOGGED_SINCE,
    REVISION,
    metadata,
    retention,
)

# Those of these modules are in `metadata` once they are imported.
_ALL_TABLES = access_tables, webhook_tables

# As Alembic makes it, which keeps the version there.
versions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def make_schema(connection: Connection) -> None:
    """Makes all tables of the latest version, in the connection's transaction.

    There must be none of them, but for an empty one of the version. Raises the driver's error.
    """
    metadata.create_all(connection, checkfirst=False)
    versions.create(connection, checkfirst=True)
    connection.execute(
        insert(retention),
        [
            {"name": CLEARED_OPERATIONS, "value": 0},
            {"name": CLEARED_NUMBERS, "value": 0},
            {"name": LOGGED_SINCE, "value": time.time_ns() // 1000 + 1},
            {"name": LATEST_WEBHOOK, "value": 0},
        ],
    )
    connection.execute(insert(versions).values(version_num=REVISION))
