"""Envoy's HTTP connection manager: what happens to a request between its arrival and its route."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway import input_checks, known_tokens, routes
from gateway.access_log import access_log, grpc_status_filter
from gateway.http_rules import DescriptorSet
from gateway.replies import local_reply_config
from gateway.settings import GatewaySettings

_TYPES = "type.googleapis.com/envoy.extensions"
# What REST callers' HTTP libraries send and no servicer reads; each would be metadata to unpack.
_USELESS_HEADERS = (
    "accept(-charset|-encoding)?|cache-control|cookie|dnt|expect|forwarded|from|origin|pragma",
    "priority|range|referer|upgrade-insecure-requests|user-agent|via|x-real-ip",
    "(if|sec)-.+",
)
# Of gRPC's own headers a caller may send grpc-timeout, grpc-encoding and grpc-accept-encoding.
_NOT_FOR_CALLERS = "internal-.*|message|previous-rpc-attempts|retry-pushback-ms|status"
_ANY = {"safe_regex": {"regex": ".*"}}
_VALID_REQUEST_ID = (
    "size(request.headers['x-request-id']) <= 128"
    " && request.headers['x-request-id'].matches('^[A-Za-z0-9._~:/+=-]+$')"
)
# Up to the limits themselves a script answers REST callers, and the server native ones. Past these
# times the limits Envoy breaks an HTTP/2 stream off, which can't have a body.
_HEADER_MARGIN = 8
# Bytes of JSON: the server's largest answer is of 3 MiB, of which each byte may become six.
_LARGEST_ANSWER = 20 << 20
_IDLE_S = 15
_YEAR_S = 31_536_000


class ConnectionManagers:
    """Makes the connection managers of both listeners, which share nearly all."""

    def __init__(
        self, root: Path, descriptors: DescriptorSet, settings: GatewaySettings, log_file: Path
    ) -> None:
        header_kib = settings.max_headers_kib * _HEADER_MARGIN
        # All of x-forwarded-*, but x-forwarded-for where there are proxies to trust.
        self._not_forwarded = (
            "x-forwarded-(?:|[^f].*|f|f[^o].*|fo|fo[^r].*|for.+)"
            if settings.trusted_proxies
            else "x-forwarded-.*"
        )
        self._strict_transport = _strict_transport(0 if settings.is_for_development else _YEAR_S)
        self._shared: dict[str, Any] = {
            "codec_type": "AUTO",
            "max_request_headers_kb": header_kib,
            "common_http_protocol_options": {
                # Also for the first request; sooner when connections run short.
                "idle_timeout": f"{_IDLE_S}s",
                "max_headers_count": input_checks.MOST_HEADERS * _HEADER_MARGIN,
            },
            # A method that HTTP does not know is one that the path does not have: 405, not 400.
            "http_protocol_options": {"allow_custom_methods": True},
            "http2_protocol_options": {
                "max_concurrent_streams": 100,
                # So that who sends a few times too much is answered, and does not meet a broken stream.
                "initial_stream_window_size": 4 * settings.max_body_bytes,
                "initial_connection_window_size": 8 * settings.max_body_bytes,
                "max_header_field_size_kb": header_kib,
            },
            # A request that is bad HTTP does not take the connection's other streams with it.
            "stream_error_on_invalid_http_message": True,
            "request_headers_timeout": "10s",
            "request_timeout": f"{settings.request_arrival_s:g}s",
            **_caller_address(settings.trusted_proxies),
            "skip_xff_append": True,
            "server_header_transformation": "PASS_THROUGH",
            "preserve_external_request_id": True,
            "request_id_extension": {
                "typed_config": {
                    "@type": f"{_TYPES}.request_id.uuid.v3.UuidRequestIdConfig",
                    # A caller's own id comes back as it was sent.
                    "pack_trace_reason": False,
                }
            },
            "access_log": [access_log(log_file)],
            "local_reply_config": local_reply_config(descriptors.page_folders),
            "http_filters": [
                _strip_invalid_metadata(),
                _rest_headers(),
                grpc_status_filter(routes.GRPC_STATUS_OF_SUCCESS),
                *_rate_limit(settings.requests_per_s),
                *known_tokens.filters(root),
                _filter(
                    *(routes.BUFFER, "buffer.v3.Buffer"),
                    {"max_request_bytes": routes.ANONYMOUS_BYTES},
                ),
                _filter(
                    *(routes.LUA, "lua.v3.Lua"),
                    {
                        "default_source_code": {
                            "inline_string": input_checks.source(
                                root, descriptors, settings.max_headers_kib
                            )
                        }
                    },
                ),
                _transcoder(root / settings.descriptors, descriptors),
                grpc_status_filter(routes.GRPC_STATUS_OF_ERRORS),
                _filter(
                    *("envoy.filters.http.router", "router.v3.Router"),
                    {"suppress_envoy_headers": True},
                ),
            ],
            "route_config": routes.route_config(descriptors, settings),
        }

    def make(self, name: str, *, over_tls: bool) -> dict[str, Any]:
        """Returns the connection manager of one listener."""
        filters = self._shared["http_filters"]
        return {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "early_header_mutation_extensions": [self._early_headers(over_tls=over_tls)],
                **self._shared,
                "http_filters": [self._strict_transport, *filters] if over_tls else filters,
            },
        }

    def _early_headers(self, *, over_tls: bool) -> dict[str, Any]:
        """Cleans headers before anything reads them: none steers Envoy, and bad request IDs are dropped."""
        mutations = [
            _remove({"prefix": "x-envoy-"}),
            _remove({"exact": known_tokens.UNKNOWN_HEADER}),
            _remove({"safe_regex": {"regex": self._not_forwarded}}),
            # One line of it, so that what the routes look at is what the server reads.
            _set("grpc-encoding", "%REQ(GRPC-ENCODING)%"),
            _set(
                "x-request-id", f"%CEL({_VALID_REQUEST_ID} ? request.headers['x-request-id'] : '')%"
            ),
        ]
        if over_tls:
            # Discovery sends callers back to where they came in.
            mutations.append(_set("x-forwarded-host", "%REQ(:AUTHORITY)%", add=True))
        return {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {
                "@type": f"{_TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                "mutations": mutations,
            },
        }


def _caller_address(trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """Returns what decides on `DOWNSTREAM_REMOTE_ADDRESS`: the connection, or what the last of
    trusted proxies says; nobody else is believed."""
    if not trusted_proxies:
        return {"use_remote_address": True}
    networks = [ipaddress.ip_network(each) for each in trusted_proxies]
    cidrs = [
        {"address_prefix": str(each.network_address), "prefix_len": each.prefixlen}
        for each in networks
    ]
    return {
        # The two can't be mixed.
        "use_remote_address": False,
        "original_ip_detection_extensions": [
            {
                "name": "envoy.http.original_ip_detection.xff",
                "typed_config": {
                    "@type": f"{_TYPES}.http.original_ip_detection.xff.v3.XffConfig",
                    "xff_trusted_cidrs": {"cidrs": cidrs},
                    "skip_xff_append": True,
                },
            }
        ],
    }


def _strip_invalid_metadata() -> dict[str, Any]:
    """Removes headers that break gRPC's rules for metadata, of REST and native callers alike.

    The server's core would end the call with an error, and later calls on the same connection too.
    Binary metadata goes as a whole: no servicer reads it, and its values have rules as well. Of the
    answers it takes what the server tells the gateway alone.
    """
    ours = _remove({"exact": known_tokens.KNOWN_HEADER})
    invalid = (
        # Pseudo-headers begin with a colon.
        {"safe_regex": {"regex": "[^:]*[^:0-9a-z_.-][^:]*"}},
        {"suffix": "-bin"},
        {"safe_regex": {"regex": f"grpc-({_NOT_FOR_CALLERS})"}},
    )
    return _filter(
        *("strip_invalid_metadata", "header_mutation.v3.HeaderMutation"),
        {
            "mutations": {
                "request_mutations": [_remove(names) for names in invalid],
                "request_trailers_mutations": [_remove(_ANY)],
                "response_mutations": [ours],
                "response_trailers_mutations": [ours],
            }
        },
    )


def _strict_transport(for_s: int) -> dict[str, Any]:
    """Has browsers use TLS alone for this many seconds (HSTS, RFC 6797); with 0 they forget it.

    Browsers keep it for all ports of a host, so for localhost it would close http://localhost:8080
    and whatever else is developed there.
    """
    header = _set("strict-transport-security", f"max-age={for_s}", add=True)
    return _filter(
        *("strict_transport", "header_mutation.v3.HeaderMutation"),
        {"mutations": {"response_mutations": [header]}},
    )


def _rest_headers() -> dict[str, Any]:
    """REST callers neither send nor see gRPC's own headers."""
    grpcs = [_remove({"prefix": "grpc-"}), _remove({"suffix": "-bin"})]
    useless = [_remove({"safe_regex": {"regex": names}}) for names in _USELESS_HEADERS]
    return _filter(
        *(routes.REST_HEADERS, "header_mutation.v3.HeaderMutation"),
        {
            "mutations": {
                "request_mutations": [*grpcs, *useless],
                "response_mutations": grpcs,
                "response_trailers_mutations": [_remove(_ANY)],
            }
        },
    )


def _rate_limit(requests_per_s: int) -> list[dict[str, Any]]:
    if not requests_per_s:
        return []
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return [
        _filter(
            *("envoy.filters.http.local_ratelimit", "local_ratelimit.v3.LocalRateLimit"),
            {
                "stat_prefix": "gateway",
                "token_bucket": {
                    "max_tokens": requests_per_s,
                    "tokens_per_fill": requests_per_s,
                    "fill_interval": "1s",
                },
                "filter_enabled": always,
                "filter_enforced": always,
                "rate_limited_as_resource_exhausted": True,
            },
        )
    ]


def _transcoder(file: Path, descriptors: DescriptorSet) -> dict[str, Any]:
    return _filter(
        *(routes.TRANSCODER, "grpc_json_transcoder.v3.GrpcJsonTranscoder"),
        {
            "proto_descriptor": str(file),
            "services": list(descriptors.services),
            "match_incoming_request_route": True,
            "convert_grpc_status": True,
            "max_response_body_size": _LARGEST_ANSWER,
            "print_options": {"always_print_primitive_fields": True},
            "query_param_unescape_plus": True,
            "request_validation_options": {
                "reject_unknown_method": True,
                "reject_unknown_query_parameters": True,
            },
        },
    )


def _filter(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "typed_config": {"@type": f"{_TYPES}.filters.http.{kind}", **config},
    }


def _remove(name: dict[str, Any]) -> dict[str, Any]:
    return {"remove_on_match": {"key_matcher": name}}


def _set(key: str, value: str, *, add: bool = False) -> dict[str, Any]:
    return {
        "append": {
            "header": {"key": key, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" if add else "OVERWRITE_IF_EXISTS",
            "keep_empty_value": True,
        }
    }
