"""When the database could be written to, found out apart from our service."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import psycopg

from tests.failover.cluster import Cluster, Node

_EVERY_S = 0.05
# Of a page and more, so that a disk without room takes none.
_ROW = "INSERT INTO probes SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 400)"


class CommitProbe:
    """Commits a row at every machine again and again; remembers when that went well, and where."""

    def __init__(self, cluster: Cluster) -> None:
        self._commits: list[tuple[float, str]] = []
        self._ended = threading.Event()
        for node in cluster.nodes:
            threading.Thread(target=self._watch, args=[node], daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def away_s(self, since: float, until: float) -> float:
        """Returns the longest time without a commit between two times of the system's clock."""
        return longest_gap([at for at, _ in self._commits], since, until)

    def new_leader_after_s(self, since: float, old: str) -> float | None:
        """Returns how long after a time another machine took writes; None where none did."""
        return next((at - since for at, name in self._commits if at > since and name != old), None)

    def _watch(self, node: Node) -> None:
        connection: psycopg.Connection | None = None
        while not self._ended.is_set():
            try:
                if connection is None:
                    connection = psycopg.connect(
                        f"host={node.host.address} port={node.port} user=postgres dbname=postgres "
                        "target_session_attrs=read-write connect_timeout=2 tcp_user_timeout=3000 "
                        "keepalives_idle=2 keepalives_interval=1 keepalives_count=2",
                        autocommit=True,
                    )
                connection.execute("CREATE TABLE IF NOT EXISTS probes (row text)")
                connection.execute(_ROW)
                self._commits.append((time.time(), node.name))
            except psycopg.Error:
                if connection:
                    connection.close()
                connection = None
            time.sleep(_EVERY_S)
        if connection:
            connection.close()


@contextmanager
def commit_probe(cluster: Cluster) -> Iterator[CommitProbe]:
    """Runs a probe until the block ends."""
    made = CommitProbe(cluster)
    try:
        yield made
    finally:
        made.end()


def longest_gap(times: list[float], since: float, until: float) -> float:
    """Returns the longest time in a span in which nothing happened."""
    within = [since, *sorted(at for at in times if since < at < until), until]
    return max(later - earlier for earlier, later in pairwise(within))
