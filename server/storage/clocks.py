"""What the database knows of time, for who wonders whether the machines' clocks agree."""

from datetime import UTC, datetime
from typing import NamedTuple

from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import to_billing_error
from server.storage.sql.times import from_micros_or_none


class Clocks(NamedTuple):
    """Aware times. `database_now`: None on SQLite, whose clock is this machine's.

    `latest`: when the latest operation was asked for, None if there is none.
    """

    database_now: datetime | None
    latest: datetime | None


def read_clocks(database_url: str, *, pooled: bool = False) -> Clocks:
    """Reads them. Raises SchemaError for another schema, and what `to_billing_error` makes."""
    database = Database(database_url, pooled=pooled)
    try:
        database.require_schema()
        connection = database.connect()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT created_at FROM operations ORDER BY n DESC LIMIT 1")
            row = cursor.fetchone()
            now = None
            if not database.is_sqlite:
                cursor.execute("SELECT clock_timestamp()")
                ((now,),) = cursor.fetchall()
        finally:
            connection.close()
    except Exception as error:
        raise to_billing_error(error) from None
    latest = from_micros_or_none(row[0] if row else None)
    return Clocks(now.astimezone(UTC) if now else None, latest)
