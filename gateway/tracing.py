"""Spans of the gateway's own, sent by OTLP to the collector that servers send theirs to."""

from typing import Any
from urllib.parse import urlsplit

_CLUSTER = "traces"
_TYPES = "type.googleapis.com/envoy"
# What Envoy would say of a request by itself and we never do: paths name people and hold secrets of
# links, addresses are somebody's, and callers write whatever they like into these headers.
_HIDDEN_TAGS = (
    *("http.url", "user_agent", "peer.address", "downstream_cluster", "guid:x-client-trace-id"),
    *("grpc.path", "grpc.authority", "grpc.content_type", "grpc.timeout"),
)


def tracing(url: str) -> dict[str, Any]:
    """Returns what has a connection manager make spans, named by the route; nothing without a URL."""
    if not url:
        return {}
    return {
        "tracing": {
            "operation": "%ROUTE_NAME%",
            "custom_tags": [{"tag": name, "literal": {"value": "-"}} for name in _HIDDEN_TAGS],
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                    "service_name": "billing-gateway",
                    "http_service": {
                        "http_uri": {
                            "uri": f"{url.rstrip('/')}/v1/traces",
                            "cluster": _CLUSTER,
                            "timeout": "10s",
                        }
                    },
                },
            },
        }
    }


def clusters(url: str) -> list[dict[str, Any]]:
    """Returns the cluster of the collector; none without a URL."""
    if not url:
        return []
    parts = urlsplit(url)
    over_tls = parts.scheme == "https"
    address = {
        "address": parts.hostname,
        "port_value": parts.port or (443 if over_tls else 80),
    }
    cluster: dict[str, Any] = {
        "name": _CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}
            ],
        },
    }
    if over_tls:
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": parts.hostname,
                "common_tls_context": {
                    "validation_context": {"system_root_certs": {}},
                },
            },
        }
    return [cluster]
