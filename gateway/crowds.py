"""Addresses that hold more connections than one may: Envoy counts all together, the kernel knows each.

One address may have four fifths of the connections, or a fifth while there are many requests under
way, which take far more memory than idle connections; an IPv6 caller has its whole /64. Those who
have more are refused new ones, at their first byte, until they have had clearly fewer for a while.
What such an address opens and leaves silent ends within a second, as all idle connections do when
they run short.
"""

import ipaddress
import json
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Shares of all connections: above the first an address is refused, until it has been below the
# second for so long. Those who come again at once would fill the rest sooner than the next look.
_MOST, _FEWER = 0.8, 0.6
_CALM_S = 5.0
# With more requests under way than this share of all connections, an address may have no more
# connections than the same share: each such request takes up to 50 KB.
_BUSY = 0.2
# More refusals than this in a second say that those who are refused come again at once.
_EAGER_PER_S = 100
# What Linux keeps; elsewhere nobody is refused.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_RBAC = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
_NAME = "crowds"


class Crowds:
    """Knows which addresses are refused, for the listeners at `ports`.

    `exempt` are networks (CIDR) of proxies, behind which are many callers.
    """

    def __init__(self, ports: Collection[int], max_connections: int, exempt: Sequence[str]) -> None:
        self._ports = {f"{port:04X}" for port in ports}
        self._most = max_connections * _MOST
        self._fewer = max_connections * _FEWER
        self._busy = max_connections * _BUSY
        self._exempt = [ipaddress.ip_network(each) for each in exempt]
        self._until: dict[Network, float] = {}
        self._denied, self._seen_at = 0, 0.0

    @property
    def refused(self) -> frozenset[Network]:
        """Those who are refused, as of the last look."""
        return frozenset(self._until)

    def may_be(self, connections: int, requests: int) -> bool:
        """Whether an address can have too many, when there are so many of all."""
        return bool(self._until) or connections > self._limit(requests)

    def look(self, requests: int, now: float) -> None:
        """Counts anew, at a monotonic time. Takes some 30 ms for 10,000 connections."""
        self.judge((line for table in _TABLES for line in _lines(table)), requests, now)

    def judge(self, lines: Iterable[str], requests: int, now: float) -> None:
        """Decides whom to refuse by the lines of the kernel's tables, and all requests under way."""
        most = self._limit(requests)
        self._until = {each: until for each, until in self._until.items() if now < until}
        counts: Counter[str] = Counter()
        for line in lines:
            fields = line.split(maxsplit=4)
            if len(fields) < 5 or fields[3] != _ESTABLISHED:
                continue
            if fields[1].rpartition(":")[2] in self._ports:
                counts[_key(fields[2].rpartition(":")[0])] += 1
        for key, count in counts.items():
            if count > min(self._fewer, most):
                network = _network(key)
                crowded = count > most or network in self._until
                if crowded and not self._is_exempt(network):
                    self._until[network] = now + _CALM_S

    def note_refusals(self, denied: int, now: float) -> None:
        """Keeps all who are refused so while they come again at once; `denied` counts all refusals."""
        if denied - self._denied > _EAGER_PER_S * (now - self._seen_at):
            self._until = dict.fromkeys(self._until, now + _CALM_S)
        self._denied, self._seen_at = denied, now

    def _limit(self, requests: int) -> float:
        return self._busy if requests > self._busy else self._most

    def _is_exempt(self, network: Network) -> bool:
        return any(network.network_address in each for each in self._exempt)


def network_filter(refused: Path) -> dict[str, Any]:
    """Returns Envoy's filter that closes connections from the addresses that the file lists."""
    return {
        "name": _NAME,
        "config_discovery": {
            "config_source": {
                "path_config_source": {"path": str(refused)},
                "resource_api_version": "V3",
            },
            "type_urls": [_RBAC],
        },
    }


def refusal(refused: Iterable[Network]) -> bytes:
    """Returns the content of that file."""
    principals = [
        {
            "direct_remote_ip": {
                "address_prefix": str(each.network_address),
                "prefix_len": each.prefixlen,
            }
        }
        for each in refused
    ]
    policies = {_NAME: {"permissions": [{"any": True}], "principals": principals}}
    rules = {"action": "DENY", "policies": policies if principals else {}}
    config = {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": _NAME,
        "typed_config": {"@type": _RBAC, "stat_prefix": f"{_NAME}.", "rules": rules},
    }
    return json.dumps({"resources": [config]}).encode()


def _lines(table: Path) -> Iterable[str]:
    try:
        with table.open() as file:
            yield from file
    except OSError:
        return


def _key(address: str) -> str:
    """Returns what counts as one address in the kernel's spelling: of IPv6 the first half."""
    is_mapped = address.startswith("0000000000000000FFFF0000")
    if is_mapped:
        return address[24:]
    return address[:16] if len(address) == 32 else address


def _network(key: str) -> Network:
    """Returns the network; the kernel writes words of 32 bits in the machine's own order."""
    words = [int(key[start : start + 8], 16) for start in range(0, len(key), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(packed) == 4:
        return ipaddress.IPv4Network(packed)
    return ipaddress.IPv6Network((packed + bytes(8), 64))
