"""How a database is named."""

import re
from collections.abc import Iterable

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from server.domain.hosts import can_be_looked_up

# As PostgreSQL's own clients have it: user@host1:5432,host2:5432/name.
_SEVERAL = re.compile(r"(\w+://(?:[^/@]*@)?)([^/@?,]+,[^/@?]+)([^?]*)(\??)(.*)")


def driver_url(database_url: str) -> URL:
    """Returns the URL for SQLAlchemy, with the driver that is used; raises ValueError."""
    several = _SEVERAL.fullmatch(database_url)
    if several:
        start, hosts, path, _, query = several.groups()
        named = "&".join(f"host={host}" for host in hosts.split(","))
        database_url = f"{start}{path}?{named}{'&' if query else ''}{query}"
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "is no URL like sqlite:///path/to/file or postgresql://user:password@host:5432/name"
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ValueError("a SQLite database needs a file: sqlite:///path/to/file")
        if url.query:
            raise ValueError("nothing may follow a SQLite database's file, such as ?mode=…")
        return url.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        _require_known(url.query)
        url = url.set(drivername="postgresql+psycopg")
        _require_places(url)
        return url
    raise ValueError("only sqlite:// and postgresql:// are known")


def _require_known(parameters: Iterable[str]) -> None:
    """Raises ValueError for what PostgreSQL's clients don't know."""
    # Only here: on SQLite, a server starts without PostgreSQL's driver.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **dict.fromkeys(parameters, ""))
    except ProgrammingError:
        raise ValueError(
            "has a parameter behind ? that PostgreSQL does not know, such as sslmode=verify-full"
        ) from None


def _require_places(url: URL) -> None:
    """Raises ValueError for hosts that are no names, and for ports that don't go with them."""
    try:
        (_, parameters) = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "has hosts and ports that don't go together: name them like host1:5432,host2:5432"
        ) from None
    hosts = str(parameters.get("host", "")).split(",")
    # What begins with / or @ is a socket, and what is empty the one that clients know.
    if not all(can_be_looked_up(each) for each in hosts if each and each[0] not in "/@"):
        raise ValueError("its host is no name like db.internal, and no IP address")
