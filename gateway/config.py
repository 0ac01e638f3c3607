"""Envoy's whole configuration as a tree of plain values, and as YAML text."""

from pathlib import Path
from typing import Any

import yaml

from gateway import input_checks, routes
from gateway.http_rules import DescriptorSet
from gateway.replies import local_reply_config
from gateway.settings import GatewaySettings

_TYPES = "type.googleapis.com/envoy"
# What REST callers' HTTP libraries send and no servicer reads; each would be metadata to unpack.
_USELESS_HEADERS = (
    "accept(-charset|-encoding)?|cache-control|cookie|dnt|expect|forwarded|from|origin|pragma",
    "priority|range|referer|upgrade-insecure-requests|user-agent|via|x-real-ip",
    "(if|sec|x-forwarded)-.+",
)
_SANE_REQUEST_ID = "^[A-Za-z0-9._~:/+=-]{1,128}$"


def bootstrap(
    root: Path, descriptors: DescriptorSet, settings: GatewaySettings, access_log: Path
) -> dict[str, Any]:
    """Returns the configuration. Relative paths in it hold from Envoy's working directory.

    `root` is the folder with gen/ and gateway/; what Envoy runs must not be known by other means
    than these arguments, so that the same arguments give the same text.
    """
    connections = _connection_manager(root, descriptors, settings, access_log)
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": _socket("127.0.0.1", settings.admin_port)},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10_000,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [
                _listener("http", settings.http_address, settings.http_port, connections),
                _listener(
                    "https",
                    settings.address,
                    settings.https_port,
                    connections,
                    _tls(settings.var / "tls"),
                ),
            ],
            "clusters": [_cluster(settings)],
        },
    }


def to_yaml(tree: dict[str, Any], heading: str) -> str:
    """Returns the tree as YAML; what it holds twice is written once and referred to."""
    return heading + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    pass


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _literal)


def _listener(
    name: str,
    address: str,
    port: int,
    connections: dict[str, Any],
    transport_socket: dict[str, Any] | None = None,
) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [connections]}
    if transport_socket:
        chain["transport_socket"] = transport_socket
    return {
        "name": name,
        "address": _socket(address, port),
        # Also bounds the answers that the transcoder holds while it turns them into JSON.
        "per_connection_buffer_limit_bytes": 4 << 20,
        "filter_chains": [chain],
    }


def _tls(folder: Path) -> dict[str, Any]:
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [
                    {
                        "name": "certificate",
                        "sds_config": {
                            "path_config_source": {"path": str(folder / "sds.json")},
                            "resource_api_version": "V3",
                        },
                    }
                ],
            },
        },
    }


def _connection_manager(
    root: Path, descriptors: DescriptorSet, settings: GatewaySettings, access_log: Path
) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "gateway",
            "codec_type": "AUTO",
            "use_remote_address": True,
            "skip_xff_append": True,
            "server_header_transformation": "PASS_THROUGH",
            "preserve_external_request_id": True,
            "always_set_request_id_in_response": True,
            "request_id_extension": {
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                    # A caller's own id comes back as it was sent.
                    "pack_trace_reason": False,
                }
            },
            "early_header_mutation_extensions": [_early_headers()],
            "max_request_headers_kb": settings.max_headers_kib,
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "60s",
            "common_http_protocol_options": {"idle_timeout": "600s"},
            "stream_error_on_invalid_http_message": True,
            "http2_protocol_options": {"max_concurrent_streams": 1000},
            "access_log": [_access_log(access_log)],
            "local_reply_config": local_reply_config(),
            "http_filters": [
                _rest_headers(),
                *_rate_limit(settings.requests_per_s),
                _filter(
                    routes.BUFFER,
                    "buffer.v3.Buffer",
                    {"max_request_bytes": settings.max_body_bytes},
                ),
                _filter(
                    routes.LUA,
                    "lua.v3.Lua",
                    {
                        "default_source_code": {
                            "inline_string": input_checks.source(root, descriptors)
                        }
                    },
                ),
                _transcoder(root, descriptors),
                _filter("envoy.filters.http.router", "router.v3.Router", _ROUTER),
            ],
            "route_config": routes.route_config(descriptors, settings),
        },
    }


_ROUTER = {"suppress_envoy_headers": True}


def _filter(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.{kind}", **config},
    }


def _transcoder(root: Path, descriptors: DescriptorSet) -> dict[str, Any]:
    return _filter(
        routes.TRANSCODER,
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        {
            "proto_descriptor": str(root / "gen" / "descriptors.pb"),
            "services": list(descriptors.services),
            "match_incoming_request_route": True,
            "convert_grpc_status": True,
            "print_options": {"always_print_primitive_fields": True},
            "query_param_unescape_plus": True,
            "request_validation_options": {
                "reject_unknown_method": True,
                "reject_unknown_query_parameters": True,
            },
        },
    )


def _early_headers() -> dict[str, Any]:
    """Before anything reads them: no caller steers Envoy, and a wild request id is replaced."""
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [_remove({"prefix": "x-envoy-"})],
        },
    }


def _rest_headers() -> dict[str, Any]:
    """REST callers neither send nor see gRPC's own headers."""
    return _filter(
        routes.REST_HEADERS,
        "header_mutation.v3.HeaderMutation",
        {
            "mutations": {
                "request_mutations": [
                    _remove({"prefix": "grpc-"}),
                    _remove({"suffix": "-bin"}),
                    *(_remove({"safe_regex": {"regex": names}}) for names in _USELESS_HEADERS),
                ],
                "response_mutations": [_remove({"prefix": "grpc-"}), _remove({"suffix": "-bin"})],
                "response_trailers_mutations": [
                    _remove({"prefix": "grpc-"}),
                    _remove({"suffix": "-bin"}),
                ],
            }
        },
    )


def _remove(name: dict[str, Any]) -> dict[str, Any]:
    return {"remove_on_match": {"key_matcher": name}}


def _rate_limit(requests_per_s: int) -> list[dict[str, Any]]:
    if not requests_per_s:
        return []
    share = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return [
        _filter(
            "envoy.filters.http.local_ratelimit",
            "local_ratelimit.v3.LocalRateLimit",
            {
                "stat_prefix": "gateway",
                "token_bucket": {
                    "max_tokens": requests_per_s,
                    "tokens_per_fill": requests_per_s,
                    "fill_interval": "1s",
                },
                "filter_enabled": share,
                "filter_enforced": share,
                "rate_limited_as_resource_exhausted": True,
            },
        )
    ]


def _access_log(file: Path) -> dict[str, Any]:
    """Routes, never paths or addresses: those can name people or hold a link's secret."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(file),
            "log_format": {
                "json_format": {
                    "at": "%START_TIME(%Y-%m-%dT%H:%M:%E3SZ)%",
                    "route": "%ROUTE_NAME%",
                    "protocol": "%PROTOCOL%",
                    "status": "%RESPONSE_CODE%",
                    "grpc_status": "%GRPC_STATUS_NUMBER%",
                    "flags": "%RESPONSE_FLAGS%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "duration_ms": "%DURATION%",
                    "received_bytes": "%BYTES_RECEIVED%",
                    "sent_bytes": "%BYTES_SENT%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "upstream": "%UPSTREAM_HOST%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            },
        },
    }


def _cluster(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "name": routes.CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # With no healthy endpoint left, trying one is better than refusing.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "load_assignment": {
            "cluster_name": routes.CLUSTER,
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
                "timeout": "2s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # The server sheds load long before; these bound Envoy's own memory.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1000,
                    "max_pending_requests": 10_000,
                    "max_requests": 10_000,
                    "max_retries": 100,
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"}
                    }
                },
            }
        },
    }


def _upstream(upstream: str) -> dict[str, Any]:
    if upstream.startswith("unix:"):
        return {"pipe": {"path": upstream.removeprefix("unix:")}}
    host, _, port = upstream.rpartition(":")
    return _socket(host.strip("[]"), int(port))


def _socket(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
