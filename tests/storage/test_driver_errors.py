"""What is made of the drivers' errors, where no database can be brought to raise them."""

import psycopg
import pytest
from psycopg import errors

from server.storage.sql.driver_errors import ErrorClass, classify


@pytest.mark.parametrize(
    "error",
    [
        # What libpq says of a connection that broke, by where it is noticed.
        psycopg.OperationalError("consuming input failed: server closed the connection"),
        psycopg.DatabaseError("server closed the connection unexpectedly"),
        psycopg.InterfaceError("the connection is closed"),
        errors.AdminShutdown(),
        errors.CrashShutdown(),
        errors.IdleSessionTimeout(),
        errors.IdleInTransactionSessionTimeout(),
        errors.lookup("25P04")(),
        errors.ConnectionFailure(),
        errors.ProtocolViolation(),  # PgBouncer's, for all that befalls a server of its
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_broke_is_no_bug(error: psycopg.Error) -> None:
    assert classify(error) is ErrorClass.DISCONNECTED


@pytest.mark.parametrize(
    "error", [psycopg.ProgrammingError("no results to fetch"), psycopg.NotSupportedError()]
)
def test_wrong_use_of_the_driver_is_a_bug(error: psycopg.Error) -> None:
    assert classify(error) is ErrorClass.UNEXPECTED
