"""Machines of a drill as network namespaces, whose ways to each other can be cut without a word.

They stand in a namespace of the drill's own, which leads nowhere else: see `__main__`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.service import eventually

_OURS = "10.77.0.254"


class Host(NamedTuple):
    """Where a machine is, and the words before a command that is to run there."""

    address: str
    inside: list[str]


class Network:
    """So many machines, and this one, on one wire."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.ours = Host(_OURS, [])

    @contextmanager
    def cut(self, one: Host, other: Host) -> Iterator[None]:
        """Loses all that goes from one machine to another, so that neither hears of the other."""
        where = [*one.inside, "ip", "route"]
        _run(*where, "add", "blackhole", f"{other.address}/32")
        try:
            yield
        finally:
            _run(*where, "del", "blackhole", f"{other.address}/32")


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Makes the machines; they end with the block. Raises CalledProcessError without the right to."""
    with ExitStack() as open_:
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "wire", "type", "bridge")
        open_.callback(_run, "ip", "link", "del", "wire")
        _run("ip", "link", "set", "wire", "up")
        _run("ip", "address", "add", f"{_OURS}/24", "dev", "wire")
        hosts = []
        for number in range(1, count + 1):
            keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            open_.callback(keeper.wait)
            open_.callback(keeper.kill)
            host = Host(f"10.77.0.{number}", ["nsenter", f"--net=/proc/{keeper.pid}/ns/net", "--"])
            _until_apart(keeper.pid)
            end = ["ip", "link", "add", f"host{number}", "type", "veth", "peer", "name", "eth0"]
            _run(*end, "netns", str(keeper.pid))
            _run("ip", "link", "set", f"host{number}", "master", "wire", "up")
            for words in (
                ["address", "add", f"{host.address}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
            ):
                _run(*host.inside, "ip", *words)
            hosts.append(host)
        yield Network(hosts)


def _until_apart(pid: int) -> None:
    """Returns once a process is in a namespace of its own."""
    ours = Path("/proc/self/ns/net").readlink()
    eventually(lambda: Path(f"/proc/{pid}/ns/net").readlink() != ours)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
