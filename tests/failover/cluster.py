"""Three PostgreSQL with Patroni, of which one leads, and the etcd that they agree by."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from tests.failover.network import Host, Network
from tests.failover.parts import patroni, program
from tests.service import eventually, free_ports

PATIENCE_S = 90.0
_DISK = "500M"
# docs/operators/failover.md has these, with reasons.
DCS: dict[str, Any] = {
    "ttl": 20,
    "loop_wait": 5,
    "retry_timeout": 5,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "failsafe_mode": True,
    "primary_start_timeout": 0,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {
            "max_connections": 60,
            "wal_log_hints": "on",
            "wal_keep_size": "64MB",
            "min_wal_size": "32MB",
            "max_wal_size": "96MB",
            "wal_sender_timeout": "5s",
            "wal_receiver_timeout": "5s",
            "tcp_user_timeout": "5s",
            "shared_buffers": "32MB",
        },
    },
}


# PostgreSQL refuses to be root. Whoever it is must be able to read where Python lies.
_USER = "postgres"
_AS_POSTGRES = (
    [
        *("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ]
    if os.geteuid() == 0
    else []
)


class Node:
    """One machine: a PostgreSQL and the Patroni that looks after it."""

    def __init__(self, name: str, host: Host, folder: Path, port: int, rest: int) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.rest_port = rest
        self.data = folder / "data"
        self._folder = folder
        self._config = folder / "patroni.yaml"
        self._rest = f"http://{host.address}:{rest}"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, programs: Path, etcd: str, loop_wait_s: int) -> None:
        """Writes Patroni's settings."""
        here = f"{self.host.address}:{self.port}"
        rest = f"{self.host.address}:{self.rest_port}"
        trust = [f"host {what} all 0.0.0.0/0 trust" for what in ("all", "replication")]
        settings = {
            "scope": "billing",
            "name": self.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"host": etcd},
            "bootstrap": {
                "dcs": {**DCS, "loop_wait": loop_wait_s},
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "data-checksums"],
            },
            "postgresql": {
                "listen": here,
                "connect_address": here,
                "data_dir": str(self.data),
                "bin_dir": str(programs),
                "pgpass": str(self._folder / "pgpass"),
                "pg_hba": ["local all all trust", *trust],
                "parameters": {"unix_socket_directories": ""},
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "replicator"},
                    "rewind": {"username": "rewinder"},
                },
            },
        }
        self._config.write_text(yaml.safe_dump(settings))
        if _AS_POSTGRES:
            shutil.chown(self._folder, _USER, _USER)

    def start(self) -> None:
        """Starts what is not running; returns at once."""
        if self._process and self._process.poll() is None:
            return
        with (self._folder / "patroni.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.host.inside, *_AS_POSTGRES, str(patroni() / "patroni"), str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        """Returns all its processes."""
        heads = [self._process.pid] if self._process and self._process.poll() is None else []
        with suppress(OSError, ValueError, IndexError):
            heads.append(int((self.data / "postmaster.pid").read_text().split()[0]))
        found: dict[int, None] = {}
        for head in heads:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(head)
                if head != heads[0] and not process.name().startswith("postgres"):
                    continue  # the number has gone to another
                found[head] = None
                found.update((child.pid, None) for child in process.children(recursive=True))
        return list(found)

    def signal(self, what: signal.Signals) -> list[int]:
        """Sends a signal to all its processes at once; returns which."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        return pids

    def kill(self) -> None:
        """Ends it as a machine does whose power fails."""
        self.signal(signal.SIGKILL)
        self.signal(signal.SIGKILL)  # whoever was begun meanwhile
        if self._process:
            self._process.wait()

    def kill_database(self) -> None:
        """Ends its PostgreSQL alone; Patroni sees it."""
        server = self.postmaster()
        for process in [*psutil.Process(server).children(), psutil.Process(server)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def postmaster(self) -> int:
        """Returns the process ID of its PostgreSQL, 0 while there is none."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return 0

    def role(self) -> str:
        """Returns what its Patroni says that it is: primary, sync_standby, replica or nothing."""
        with suppress(httpx.HTTPError, ValueError):
            found = httpx.get(f"{self._rest}/patroni", timeout=1.0).json()
            if found.get("state") == "running":
                return "sync_standby" if found.get("sync_standby") else str(found["role"])
        return ""

    def log_end(self) -> str:
        """Returns what its Patroni and PostgreSQL said last."""
        return (self._folder / "patroni.log").read_bytes()[-4000:].decode(errors="replace")

    def switch_over(self) -> None:
        """Asks it, the leader, to hand over to the synchronous standby."""
        asked = httpx.post(f"{self._rest}/switchover", json={"leader": self.name}, timeout=60.0)
        assert asked.status_code in (200, 202), asked.text


class Cluster:
    """The machines; made by `cluster`. `etcd` is the process of that name."""

    def __init__(self, nodes: list[Node], etcd: "Etcd", network: Network | None, url: str) -> None:
        self.nodes = nodes
        self.etcd = etcd
        self.network = network
        self.url = url

    def leader(self) -> Node:
        """Returns who leads; waits for one."""
        return self._with_role("primary")

    def leader_other_than(self, old: Node) -> Node:
        """Returns who leads in place of another; waits for it."""
        eventually(lambda: self.leader() is not old, PATIENCE_S)
        return self.leader()

    def synchronous(self) -> Node:
        """Returns whose word commits wait for; waits for one."""
        return self._with_role("sync_standby")

    def whole(self) -> None:
        """Returns once all are there again: a leader, a synchronous standby and another."""
        wanted = ["primary", "replica", "sync_standby"]
        try:
            eventually(lambda: sorted(node.role() for node in self.nodes) == wanted, PATIENCE_S)
        except AssertionError as error:
            for node in self.nodes:
                error.add_note(f"{node.name} is {node.role() or 'not running'}:\n{node.log_end()}")
            raise

    def _with_role(self, role: str) -> Node:
        found: list[Node] = []

        def look() -> bool:
            found[:] = [node for node in self.nodes if node.role() == role]
            return len(found) == 1

        eventually(look, PATIENCE_S)
        return found[0]


class Etcd:
    """One etcd, which may be killed and started again."""

    def __init__(self, host: Host, folder: Path, client: int, peer: int) -> None:
        self.host = host
        self.address = f"{host.address}:{client}"
        self._folder = folder
        url = f"http://{self.address}"
        peers = f"http://{host.address}:{peer}"
        self._command = [
            *(*host.inside, *program("etcd"), "--name", "one", "--data-dir", str(folder / "etcd")),
            *("--listen-client-urls", url, "--advertise-client-urls", url),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"one={peers}"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Puts a small disk of its own there, in memory; for root."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def cluster(
    folder: Path, programs: Path, network: Network | None = None, loop_wait_s: int = 5
) -> Iterator[Cluster]:
    """Runs the machines on PostgreSQL's `programs`, in namespaces of `network` or on this host.

    `loop_wait_s` is Patroni's: how often it looks.
    """
    hosts = network.hosts if network else [Host("127.0.0.1", [])] * 4
    ports = iter(free_ports(len(hosts) * 2))
    folder.chmod(0o755)
    with ExitStack() as open_:
        etcd = Etcd(hosts[3], folder, next(ports), next(ports))
        open_.callback(etcd.kill)
        etcd.start()
        nodes = []
        for number, host in enumerate(hosts[:3]):
            home = folder / f"db{number + 1}"
            home.mkdir(exist_ok=True)
            if network:
                open_.enter_context(_disk(home))
            node = Node(home.name, host, home, next(ports), next(ports))
            node.configure(programs, etcd.address, loop_wait_s)
            open_.callback(node.kill)
            nodes.append(node)
        named = "&".join(f"host={node.host.address}:{node.port}" for node in nodes)
        url = f"postgresql://postgres@/postgres?{named}&target_session_attrs=read-write"
        made = Cluster(nodes, etcd, network, url)
        nodes[0].start()
        made.leader()
        for node in nodes[1:]:
            node.start()
        made.whole()
        yield made
