"""What the service keeps and takes: rows in its database, memory of its processes."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from server.storage.schema import tables as schema
from server.storage.schema import webhook_tables

# The worker adds to these whenever it gets to it: a hash for each try of an e-mail, what it delivers.
_OF_WORKERS = (
    schema.link_tokens,
    webhook_tables.deliveries,
    webhook_tables.attempts,
    schema.event_logs,
    schema.retention,
)
# Counts are numbers in rows that stay, and have no order.
_BY_CALLS = sorted(
    name
    for name, table in schema.metadata.tables.items()
    if table not in _OF_WORKERS and table.dialect_options["sqlite"]["with_rowid"]
)


class Rows:
    """The newest row of each table that calls add to. Rows only ever come behind the others."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
        self._version = -1
        self._newest: dict[str, int] = {}
        self.added()

    def close(self) -> None:
        self._connection.close()

    def added(self) -> dict[str, int]:
        """Returns how many rows each table has got since the last look; {} if none has any."""
        # Tells of any commit at next to no cost.
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return {}
        self._version = version
        found = {}
        for table in _BY_CALLS:
            query = f"SELECT coalesce(max(rowid), 0) FROM {table}"
            (newest,) = self._connection.execute(query).fetchone()
            more = newest - self._newest.get(table, newest)
            self._newest[table] = newest
            if more > 0:
                found[table] = more
        return found


@dataclass
class Memory:
    """Resident memory in MiB of the servers and of Envoy, together: now and at most."""

    processes: dict[str, list[psutil.Process]]
    most: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """Watches the processes that `make run` with this process id has started."""
        found: dict[str, list[psutil.Process]] = {"server": [], "Envoy": []}
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = process.cmdline()
                # Of several, or the one that has all in it.
                if "serve" in command or "server.sandbox" in command:
                    found["server"].append(process)
                elif any(part.endswith("envoy.json") for part in command):
                    found["Envoy"].append(process)
        return cls(found)

    def now(self) -> dict[str, int]:
        """Returns what each takes now; raises psutil.NoSuchProcess when one has died."""
        taken = {
            name: sum(one.memory_info().rss for one in processes) >> 20
            for name, processes in self.processes.items()
        }
        for name, size in taken.items():
            self.most[name] = max(size, self.most.get(name, 0))
        return taken

    def pids(self) -> Iterator[int]:
        """Yields the processes that must be the same ones in the end."""
        return (one.pid for processes in self.processes.values() for one in processes)
