"""Envoy's whole configuration as a tree of plain values, and as YAML text."""

import ipaddress
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from gateway import known_tokens, shares, tracing
from gateway.connection_manager import ConnectionManagers
from gateway.crowds import network_filter
from gateway.http_rules import DescriptorSet
from gateway.overload import overload_manager
from gateway.route_parts import (
    ANONYMOUS_CLUSTER,
    ANONYMOUS_STREAMS_CLUSTER,
    CLUSTER,
    STREAMS_CLUSTER,
)
from gateway.settings import GatewaySettings

_TYPES = "type.googleapis.com/envoy.extensions"
# Calls and waits that each of the servers may have at once; and of those, calls without credentials.
_MOST_CALLS = 4_000
_MOST_ANONYMOUS = 1_000
# Calls with unknown tokens that a server has from each of Envoy's threads at once, and those that
# stand in line at Envoy, where each takes some 25 KB.
_UNKNOWN_AT_ONCE, _UNKNOWN_IN_LINE = 32, 1_000
# The same for callers who send very many calls.
_BUSY_AT_ONCE, _BUSY_IN_LINE = 64, 1_000
# And for strangers who do.
_STRANGERS_AT_ONCE, _STRANGERS_IN_LINE = 32, 300
# Requests of one connection that a thread begins before it looks at the others.
_REQUESTS_PER_TURN = 1
_MOST_STREAMS = 10_000
# Bytes that Envoy takes of a stream while its caller reads none, beside what the connection holds; its
# own default is 256 MiB, and the server would never notice.
_STREAM_WINDOW_BYTES = 64 << 10
# Bytes; fifty connections with 4 MiB each filled the heap.
_READ_AHEAD_BYTES = 64 << 10
# Of memory that is free, what goes back to the system each second.
_RELEASED_BYTES = 16 << 20
# A connection that takes nothing of what is sent for so long is closed. A server has told a stream's
# reader by then.
_LONGEST_STUCK_S = 30


def bootstrap(
    root: Path,
    descriptors: DescriptorSet,
    settings: GatewaySettings,
    access_log: Path,
    admin_socket: Path,
    pressure: Path | None,
    refused: Path | None,
    transcoded: Path,
) -> dict[str, Any]:
    """Returns the configuration, the same for the same arguments.

    `admin_socket` is the path that Envoy takes commands at, `pressure` the file that tells it which
    share of its connections is taken, `refused` the one with the addresses that have too many, if
    anybody writes them. `transcoded` is the file that holds `descriptors.for_transcoder()`. `root` is the folder that holds gen/
    and gateway/. Relative paths are seen from Envoy's working directory.
    """
    managers = ConnectionManagers(root, descriptors, settings, access_log, transcoded)
    first = [network_filter(refused)] if refused else []
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "fairness",
                    "static_layer": {"http.max_requests_per_io_cycle": _REQUESTS_PER_TURN},
                }
            ]
        },
        # Reading all this takes 100 MiB for a moment, which the allocator would keep.
        "memory_allocator_manager": {
            "bytes_to_release": _RELEASED_BYTES,
            "memory_release_interval": "1s",
        },
        "overload_manager": overload_manager(
            settings.max_connections, settings.memory_mib, pressure
        ),
        "static_resources": {
            "listeners": [
                _listener(
                    "http",
                    _socket(settings.http_address, settings.http_port),
                    {"filters": [*first, managers.make("http", over_tls=False)]},
                ),
                _listener(
                    "https",
                    _socket(settings.address, settings.https_port),
                    {
                        "filters": [*first, managers.make("https", over_tls=True)],
                        "transport_socket": _tls(settings.var / "tls" / "sds.json"),
                    },
                ),
            ],
            "clusters": [
                _cluster(CLUSTER, settings, _MOST_CALLS * len(settings.upstreams)),
                # So that calls without credentials never stand in line before the others.
                _cluster(ANONYMOUS_CLUSTER, settings, _MOST_ANONYMOUS),
                # A server gives one address half of its places at most; that leaves room here too.
                _cluster(
                    ANONYMOUS_STREAMS_CLUSTER, settings, _MOST_ANONYMOUS * len(settings.upstreams)
                ),
                # So that unknown tokens stand in line here, and known ones pass by.
                _cluster(
                    known_tokens.CLUSTER, settings, _UNKNOWN_IN_LINE, streams=_UNKNOWN_AT_ONCE
                ),
                _cluster(known_tokens.BUSY_CLUSTER, settings, _BUSY_IN_LINE, streams=_BUSY_AT_ONCE),
                _cluster(
                    shares.BUSY_CLUSTER, settings, _STRANGERS_IN_LINE, streams=_STRANGERS_AT_ONCE
                ),
                _cluster(STREAMS_CLUSTER, settings, _MOST_STREAMS * len(settings.upstreams)),
                *tracing.clusters(settings.traces_url),
            ],
        },
    }


def to_yaml(tree: dict[str, Any], heading: str) -> str:
    """Returns the tree as YAML; what it holds twice is written once and referred to."""
    return heading + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they are, and calls what is referred to by the key of its first place."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._places: dict[yaml.Node, str] = {}
        self._anchors: Counter[str] = Counter()

    def anchor_node(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._places.setdefault(value, key.value)
        super().anchor_node(node)

    def generate_anchor(self, node: yaml.Node) -> str:
        place = self._places.get(node, "item").rpartition(".")[2]
        self._anchors[place] += 1
        return f"{place}-{self._anchors[place]}"


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _listener(name: str, address: dict[str, Any], chain: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        # Of requests that a connection sends one behind the other, over HTTP/1.1, so much is read ahead. What
        # filters wait for whole, and what they make of an answer, has limits of its own.
        "per_connection_buffer_limit_bytes": _READ_AHEAD_BYTES,
        **_user_timeout(),
        "filter_chains": [{**chain, "transport_socket_connect_timeout": "5s"}],
    }


def _user_timeout() -> dict[str, Any]:
    """Has connections closed whose callers read nothing: Envoy holds up to the above for each."""
    if sys.platform != "linux":
        return {}
    option = {
        "description": "TCP_USER_TIMEOUT",
        "level": socket.IPPROTO_TCP,
        "name": socket.TCP_USER_TIMEOUT,
        "int_value": _LONGEST_STUCK_S * 1000,
        "state": "STATE_LISTENING",  # connections inherit it
    }
    return {"socket_options": [option]}


def _tls(secrets: Path) -> dict[str, Any]:
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [
                    {
                        "name": "certificate",
                        "sds_config": {
                            "path_config_source": {"path": str(secrets)},
                            "resource_api_version": "V3",
                        },
                    }
                ],
            },
        },
    }


# A server that hangs, or whose machine is gone, loses its calls within 3 s: another answers those that
# may be tried again. Servers cut off who asks more often than each second. A busy one answers all the
# same, since gRPC's core does it without Python.
_SIGNS_OF_LIFE = {"interval": "1.2s", "timeout": "1.75s", "interval_jitter": {"value": 0}}


def _cluster(
    name: str, settings: GatewaySettings, most_calls: int, streams: int = 0
) -> dict[str, Any]:
    """`streams` are the calls at once on the one connection of a thread to a server, 0 for any."""
    http2: dict[str, Any] = {"connection_keepalive": _SIGNS_OF_LIFE}
    if streams:
        http2["max_concurrent_streams"] = streams
    if name == STREAMS_CLUSTER:
        http2["initial_stream_window_size"] = _STREAM_WINDOW_BYTES
    return {
        "name": name,
        "type": "STATIC" if all(map(_is_static, settings.upstreams)) else "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # With no healthy endpoint left, trying one is better than refusing.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": _upstream(upstream)}}
                        for upstream in settings.upstreams
                    ]
                }
            ],
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "0.5s",
                # Until the first call: a server that has just started is found soon.
                "no_traffic_interval": "0.1s",
                "no_traffic_healthy_interval": "0.5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # The servers shed load before; these bound how many calls stand in line for them.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1 if streams else 1000,
                    "max_pending_requests": most_calls,
                    "max_requests": most_calls,
                    "max_retries": 100,
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
    }


def _is_static(upstream: str) -> bool:
    """Whether the endpoint needs no name looked up."""
    if upstream.startswith("unix:"):
        return True
    try:
        ipaddress.ip_address(upstream.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


def _upstream(upstream: str) -> dict[str, Any]:
    if upstream.startswith("unix:"):
        return {"pipe": {"path": upstream.removeprefix("unix:")}}
    host, _, port = upstream.rpartition(":")
    return _socket(host.strip("[]"), int(port))


def _socket(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
