"""What is made of the drivers' errors, where no database can be brought to raise them."""

import sqlite3

import psycopg
import pytest
from psycopg import errors

from server.storage.sql.driver_errors import ErrorClass, classify
from server.storage.sql.explanations import explained


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


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.OperationalError("failed to resolve host 'cret@db'"), "knows its host"),
        (psycopg.OperationalError('server at "h", port 1 failed: Connection refused'), "listens"),
        (psycopg.OperationalError('FATAL:  database "b" does not exist'), "no such database"),
        (psycopg.OperationalError("FATAL:  the database system is starting up"), "starting"),
        (psycopg.OperationalError("password authentication failed for user"), "user or password"),
        (psycopg.OperationalError("connection timeout expired"), "in time"),
        (psycopg.OperationalError("something else"), "can't be reached"),
        (errors.InsufficientPrivilege("of table t"), "lacks a right"),
        (errors.ReadOnlySqlTransaction(), "read-only"),
        (errors.UndefinedColumn("column x"), "does not expect (42703)"),
    ],
    ids=str,
)
def test_operators_are_told_what_an_error_means_in_words_of_ours(
    error: psycopg.Error, meaning: str
) -> None:
    told = explained(error)
    assert meaning in told
    assert str(error) not in told or not str(error)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_IOERR_SHORT_READ, "cut off or written over"),
        (sqlite3.SQLITE_IOERR_WRITE, "its disk fails, or is full"),
        (sqlite3.SQLITE_MISUSE, "does not expect"),
    ],
)
def test_the_whole_code_of_sqlite_counts_where_it_says_more(code: int, meaning: str) -> None:
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    assert meaning in explained(error)
