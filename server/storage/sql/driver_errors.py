"""What the drivers' errors mean to us."""

import logging
import sqlite3
from enum import Enum

from sqlalchemy.exc import DBAPIError

from server.domain.errors import BillingError, Reason
from server.storage.sql.database_files import FilesMovedError
from server.storage.sql.explanations import explained
from server.telemetry.failure_log import FailureLog
from server.telemetry.metrics import DATABASE_ERRORS

_FAILURES = FailureLog(logging.getLogger(__name__))

RETRY_AFTER_S = 1.0


class ErrorClass(Enum):
    """What to do about a driver's error."""

    CONFLICT = "another transaction got there first: try again"
    DISCONNECTED = "the connection broke: try again on a new one"
    UNAVAILABLE = "the database can't be used now"
    FULL = "no room"
    UNFIT = "a value that no row can hold"
    UNEXPECTED = "a bug here, or a broken database"


class OvertakenError(Exception):
    """Another transaction has committed what makes this one impossible as it is."""


class RefusedError(Exception):
    """A request of the batch has been refused meanwhile, so it must not be done."""


class UnreplicatedError(Exception):
    """A commit was answered with a warning: it may be on this server alone, and lost with it."""


# https://www.postgresql.org/docs/current/errcodes-appendix.html, by prefix; the first match holds.
_BY_SQLSTATE = (
    ("22", ErrorClass.UNFIT),  # data exception: a number out of range, NUL in a text
    ("54", ErrorClass.UNFIT),  # program limit exceeded: a key too long for its index
    ("23", ErrorClass.CONFLICT),  # integrity constraint violation
    ("40", ErrorClass.CONFLICT),  # serialization failure, deadlock
    ("53100", ErrorClass.FULL),  # disk full
    ("53", ErrorClass.UNAVAILABLE),  # insufficient resources, too many connections
    ("08", ErrorClass.DISCONNECTED),
    ("57P01", ErrorClass.DISCONNECTED),  # shutdown, or an administrator cut the connection
    ("57P02", ErrorClass.DISCONNECTED),  # another server process has crashed
    ("57P05", ErrorClass.DISCONNECTED),  # idle for too long
    ("25P03", ErrorClass.DISCONNECTED),  # idle for too long in a transaction: we stood still
    ("25P04", ErrorClass.DISCONNECTED),  # in a transaction for too long
    ("57", ErrorClass.UNAVAILABLE),  # starting up, statement timeout
    ("55", ErrorClass.UNAVAILABLE),  # lock not available
    ("58", ErrorClass.UNAVAILABLE),  # input and output
    ("25006", ErrorClass.UNAVAILABLE),  # read-only: a standby after a switch
    ("28", ErrorClass.UNAVAILABLE),  # credentials refused
    ("3D", ErrorClass.UNAVAILABLE),  # no such database
)

# https://www.sqlite.org/rescode.html, primary codes.
_BY_SQLITE_CODE = {
    sqlite3.SQLITE_CONSTRAINT: ErrorClass.CONFLICT,
    sqlite3.SQLITE_BUSY: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_LOCKED: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_READONLY: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_IOERR: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_CANTOPEN: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_PERM: ErrorClass.UNAVAILABLE,
    sqlite3.SQLITE_FULL: ErrorClass.FULL,
    sqlite3.SQLITE_TOOBIG: ErrorClass.UNFIT,
}

# What SQLite's driver raises for a number or a text that it can't bind.
_DRIVERS_OWN = (OverflowError, UnicodeEncodeError)


def classify(error: Exception) -> ErrorClass:
    """Tells what a driver's error means; UNEXPECTED for any other exception."""
    if isinstance(error, OvertakenError | RefusedError):
        return ErrorClass.CONFLICT
    if isinstance(error, FilesMovedError | UnreplicatedError):
        return ErrorClass.UNAVAILABLE
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, _DRIVERS_OWN):
        return ErrorClass.UNFIT
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _BY_SQLITE_CODE.get((code or 0) & 0xFF, ErrorClass.UNEXPECTED)
    if _is_psycopg(error):
        return _classify_psycopg(error)
    return ErrorClass.UNEXPECTED


def _is_psycopg(error: Exception) -> bool:
    """Tells without importing psycopg, which takes a good part of a server's start."""
    return hasattr(error, "sqlstate")


def _classify_psycopg(error: Exception) -> ErrorClass:
    from psycopg import DataError, NotSupportedError, ProgrammingError

    state = getattr(error, "sqlstate", None)
    if isinstance(error, DataError):  # the driver itself may find it
        return ErrorClass.UNFIT
    if not state:
        # Not the server's: the connection broke or could not be made, whichever class that has where
        # it was noticed; or we used the driver wrongly.
        ours = isinstance(error, ProgrammingError | NotSupportedError)
        return ErrorClass.UNEXPECTED if ours else ErrorClass.DISCONNECTED
    for prefix, error_class in _BY_SQLSTATE:
        if state.startswith(prefix):
            return error_class
    return ErrorClass.UNEXPECTED


def to_billing_error(error: Exception) -> Exception:
    """Returns what to raise to callers in place of `error`.

    A driver's text may hold rows, so it goes neither to callers nor to the log: the log gets its
    class and code. Any other exception is returned as it is.
    """
    if isinstance(error, OvertakenError):
        return overloaded()
    if isinstance(error, FilesMovedError):
        return unavailable()
    if isinstance(error, UnreplicatedError):
        _FAILURES.tell("database: a commit was answered before its standby had it")
        return unavailable()
    drivers = (sqlite3.Error, DBAPIError, *_DRIVERS_OWN)
    if not isinstance(error, drivers) and not _is_psycopg(error):
        return error
    error_class = classify(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    DATABASE_ERRORS.labels(error_class.name.lower()).inc()
    # An outage of an hour is a dozen lines.
    _FAILURES.tell(f"database: {error_class.value}: {type(cause).__name__} {code}")
    answer = _answer(error_class)
    if error_class is not ErrorClass.UNFIT:
        answer.for_operators = explained(cause or error)
    return answer


def _answer(error_class: ErrorClass) -> BillingError:
    match error_class:
        case ErrorClass.FULL:
            return BillingError(
                Reason.STORAGE_FULL,
                "The service has no room to record this; try again later.",
                retry_after_s=RETRY_AFTER_S,
            )
        case ErrorClass.UNFIT:
            return BillingError(
                Reason.REQUEST_MALFORMED,
                "The request holds a value that can't be kept: a number out of range, or a character "
                "that no text may hold.",
            )
        case ErrorClass.UNEXPECTED:
            return BillingError(Reason.INTERNAL, "Internal error.")
        case _:
            return unavailable()


def unavailable() -> BillingError:
    """Returns the refusal while the database can't be used."""
    return BillingError(
        Reason.STORAGE_UNAVAILABLE,
        "The service's database can't be reached; try again shortly.",
        retry_after_s=RETRY_AFTER_S,
    )


def in_doubt() -> BillingError:
    """Returns what is told of a commit that may have taken place, or may yet."""
    return BillingError(
        Reason.OUTCOME_UNKNOWN,
        "The service's database broke off while this was being recorded, so it may have been done or "
        "not: repeat the call with its idempotency key, or look before you repeat it without one.",
        retry_after_s=RETRY_AFTER_S,
    )


def overloaded() -> BillingError:
    """Returns the refusal of a call for which there is no room in the queue."""
    return BillingError(
        Reason.OVERLOADED, "The service is overloaded; try again shortly.", retry_after_s=1.0
    )
