"""What the drivers' errors mean to those who run the service, and what they can do about them.

Without the drivers' own words: they may quote rows, and of an address a part of its password.
"""

import sqlite3

# By the whole code, or by its kind, which is its last byte.
_ON_SQLITE = {
    sqlite3.SQLITE_IOERR_SHORT_READ: "the file is shorter than it was: it has been cut off or written over while it was open; restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database, or is damaged: name another, or restore a backup",
    sqlite3.SQLITE_CORRUPT: "the database is damaged, `PRAGMA integrity_check` says where: restore a backup",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: this user needs to read and write it and its folder",
    sqlite3.SQLITE_READONLY: "the file or its folder can't be written to by this user",
    sqlite3.SQLITE_PERM: "the file or its folder can't be written to by this user",
    sqlite3.SQLITE_BUSY: "another process has it locked for long: let that end, and try again",
    sqlite3.SQLITE_FULL: "its disk is full: make room",
    sqlite3.SQLITE_IOERR: "its disk fails, or is full: see the machine's log",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html, by prefix; the first match holds.
_ON_POSTGRESQL = (
    ("28", "the server refuses user or password"),
    ("3D", "the server has no such database: make it, or name another"),
    ("42501", "its user lacks a right: have it own the database, or the tables and their schema"),
    ("25006", "it is read-only, a standby perhaps: name the server that takes writes"),
    ("53100", "its disk is full: make room"),
    ("53300", "the server has no connection left: raise max_connections, or end others"),
    ("53", "the server has not enough memory or disk: see its log"),
    ("55P03", "another process has it locked for long: let that end, and try again"),
    ("57P03", "the server is starting or stopping: try again shortly"),
    ("57014", "the server does not answer in time: see its log"),
)

# What libpq and psycopg say where no connection was made, in English as they are without a locale.
_CONNECTING = (
    ("resolve host", "no name server knows its host, or none answers"),
    ("translate host name", "no name server knows its host, or none answers"),
    ("port number", "its port is none: give 1 to 65535"),
    (" value", "a parameter behind ? has a value that PostgreSQL's clients don't know"),
    ("refused", "nothing listens at its host and port: is it up?"),
    ("database system is", "the server is starting or stopping: try again shortly"),
    ("password", "the server refuses user or password"),
    ("pg_hba.conf", "the server refuses this user from this machine: see its pg_hba.conf"),
    ("certificate", "the server's certificate can't be verified: see sslmode and sslrootcert"),
    ("SSL", "the server and this machine don't agree on TLS: see sslmode"),
    ("database", "the server has no such database: make it, or name another"),
    ("role", "the server refuses user or password"),
    ("read-only", "none of its servers takes writes"),
    ("time", "the server does not answer in time: is there a firewall on the way?"),
    ("No such file", "there is no socket of a server in its folder: is it up?"),
)


def explained(error: BaseException) -> str:
    """Returns what a driver's error means, in one line; "" where nothing is known of it."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None) or 0
        known = _ON_SQLITE.get(code) or _ON_SQLITE.get(code & 0xFF)
        return known or _unexpected(getattr(error, "sqlite_errorname", None))
    if state := getattr(error, "sqlstate", None):
        found = (text for prefix, text in _ON_POSTGRESQL if state.startswith(prefix))
        return next(found, _unexpected(state))
    said = str(error)
    return next((text for words, text in _CONNECTING if words in said), "it can't be reached")


def _unexpected(code: str | None) -> str:
    return (
        f"the database answers with an error that this release does not expect ({code}): is it this "
        "service's? Run `billing-server check`, and restore a backup if it is not sound"
    )
