"""What befalls the machines. Each fault returns once all of it is over, thawed and started again."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NamedTuple

from tests.chaos.stack import Stack
from tests.failover.cluster import PATIENCE_S, Cluster
from tests.service import eventually


class Fault(NamedTuple):
    """`hold_s` is how long it lasts. `needs_root`: machines have networks and disks of their own."""

    name: str
    run: Callable[[Cluster, Stack, float], None]
    hold_s: float = 0.0
    needs_root: bool = False


def _switch_over(cluster: Cluster, _: Stack, _hold_s: float) -> None:
    cluster.leader().switch_over()


def _kill_database(cluster: Cluster, _: Stack, _hold_s: float) -> None:
    killed = cluster.leader()
    before = killed.postmaster()
    killed.kill_database()
    # Another one leads, or this one started again in time.
    eventually(lambda: cluster.leader().postmaster() not in (0, before), PATIENCE_S)


def _kill_leader(cluster: Cluster, _: Stack, _hold_s: float) -> None:
    leader = cluster.leader()
    leader.kill()
    cluster.leader_other_than(leader)
    leader.start()


def _kill_etcd(cluster: Cluster, _: Stack, hold_s: float) -> None:
    cluster.etcd.kill()
    time.sleep(hold_s)
    cluster.etcd.start()


def _kill_synchronous(cluster: Cluster, _: Stack, hold_s: float) -> None:
    node = cluster.synchronous()
    node.kill()
    time.sleep(hold_s)
    node.start()


def _kill_leader_while_commits_wait(cluster: Cluster, _: Stack, hold_s: float) -> None:
    """They wait for a standby that is frozen; only that one may lead, once it goes on."""
    leader, standby = cluster.leader(), cluster.synchronous()
    standby.signal(signal.SIGSTOP)
    time.sleep(2.0)
    leader.kill()
    time.sleep(hold_s)
    standby.signal(signal.SIGCONT)
    cluster.leader_other_than(leader)
    leader.start()


def _freeze_leader(cluster: Cluster, _: Stack, hold_s: float) -> None:
    leader = cluster.leader()
    frozen = leader.signal(signal.SIGSTOP)
    time.sleep(hold_s)
    for pid in frozen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _cut_servers_off(cluster: Cluster, _: Stack, hold_s: float) -> None:
    """The leader goes on to lead, and can't be reached from us."""
    assert cluster.network
    with cluster.network.cut(cluster.leader().host, cluster.network.ours):
        time.sleep(hold_s)


def _cut_etcd_off(cluster: Cluster, _: Stack, hold_s: float) -> None:
    assert cluster.network
    with cluster.network.cut(cluster.leader().host, cluster.etcd.host):
        time.sleep(hold_s)


def _part_data_centres(cluster: Cluster, _: Stack, hold_s: float) -> None:
    """The leader's sees neither etcd nor the standbys; servers of ours see both sides."""
    assert cluster.network
    leader = cluster.leader()
    others = [node.host for node in cluster.nodes if node is not leader]
    with ExitStack() as open_:
        for other in (cluster.etcd.host, *others):
            open_.enter_context(cluster.network.cut(leader.host, other))
        time.sleep(hold_s)


def _fill_disk(cluster: Cluster, _: Stack, hold_s: float) -> None:
    assert cluster.network  # which has disks of their own, too: this one's would be filled
    leader = cluster.leader()
    ballast = leader.data.parent / "ballast"
    with ballast.open("wb") as out, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    os.write(out.fileno(), bytes(size))
    time.sleep(hold_s)
    ballast.unlink()


def _freeze_server(_: Cluster, stack: Stack, hold_s: float) -> None:
    """Past the leases of what its worker has claimed."""
    (pid, *_others) = stack.servers()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(hold_s)
    os.kill(pid, signal.SIGCONT)


FAULTS = (
    Fault("switch-over", _switch_over),
    Fault("PostgreSQL killed", _kill_database),
    Fault("leader killed", _kill_leader),
    Fault("leader frozen", _freeze_leader, 35.0),  # longer than Patroni's ttl
    Fault("etcd killed", _kill_etcd, 8.0),
    Fault("synchronous standby killed", _kill_synchronous, 8.0),
    Fault("leader killed while commits wait", _kill_leader_while_commits_wait, 5.0),
    Fault("servers cut off from the leader", _cut_servers_off, 10.0, needs_root=True),
    Fault("leader cut off from etcd", _cut_etcd_off, 30.0, needs_root=True),
    Fault("data centres part", _part_data_centres, 35.0, needs_root=True),
    Fault("leader's disk full", _fill_disk, 10.0, needs_root=True),
    Fault("server frozen past its leases", _freeze_server, 8.0),
)
