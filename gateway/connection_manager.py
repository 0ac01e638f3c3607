"""Envoy's HTTP connection manager: what happens to a request between its arrival and its route."""

import ipaddress
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway import (
    cors,
    direct_answers,
    input_checks,
    known_tokens,
    route_parts,
    routes,
    shares,
    web_protocols,
)
from gateway.access_log import access_log, grpc_status_filter, ids_filter
from gateway.header_filters import (
    http_filter,
    once_let_in,
    remove,
    rest_headers,
    set_to,
    strict_transport,
    strip_invalid_metadata,
)
from gateway.http_rules import DescriptorSet
from gateway.replies import local_reply_config
from gateway.settings import GatewaySettings
from gateway.tracing import tracing

_TYPES = "type.googleapis.com/envoy.extensions"
_VALID_REQUEST_ID = (
    "size(request.headers['x-request-id']) <= 128"
    " && request.headers['x-request-id'].matches('^[A-Za-z0-9._~:/+=-]+$')"
)
# Up to the limits themselves a script answers REST callers, and the server native ones. Past these
# times the limits Envoy breaks an HTTP/2 stream off, which can't have a body. Not more: packed (HPACK) such
# headers are some bytes, and a connection may have those of 64 requests unpacked before one is looked at.
_HEADER_MARGIN = 1.25
# What Envoy takes over HTTP/2: bytes of a window at the least, and bounds of one header.
_LEAST_WINDOW, _FIELD_KIB = (64 << 10) - 1, (64, 256)
# Bytes of JSON: the server's largest answer is of 3 MiB, of which each byte may become six.
_LARGEST_ANSWER = 20 << 20
_IDLE_S = 15
# On one connection. Each takes 17 KB before anything can refuse it.
_STREAMS = 64
_TRANSCODER = "grpc_json_transcoder.v3.GrpcJsonTranscoder"
_PRINTED = {"always_print_primitive_fields": True}
_COMPRESSED = (
    *("application/json", "text/html", "text/css", "text/javascript"),
    "text/plain",
)
_YEAR_S = 31_536_000


class ConnectionManagers:
    """Makes the connection managers of both listeners, which share nearly all."""

    def __init__(
        self,
        root: Path,
        descriptors: DescriptorSet,
        settings: GatewaySettings,
        log_file: Path,
        transcoded: Path,
    ) -> None:
        header_kib = math.ceil(settings.max_headers_kib * _HEADER_MARGIN)
        least, most = _FIELD_KIB
        # Below the least of what can be set, what all headers may have bounds each.
        field = {} if header_kib < least else {"max_header_field_size_kb": min(header_kib, most)}
        # All of x-forwarded-*, but x-forwarded-for where there are proxies to trust.
        self._not_forwarded = (
            "x-forwarded-(?:|[^f].*|f|f[^o].*|fo|fo[^r].*|for.+)"
            if settings.trusted_proxies
            else "x-forwarded-.*"
        )
        transcoder = _transcoder(transcoded, descriptors)
        self._strict_transport = strict_transport(0 if settings.is_for_development else _YEAR_S)
        self._shared: dict[str, Any] = {
            "codec_type": "AUTO",
            "max_request_headers_kb": header_kib,
            "common_http_protocol_options": {
                # Also for the first request; sooner when connections run short.
                "idle_timeout": f"{_IDLE_S}s",
                "max_headers_count": math.ceil(input_checks.MOST_HEADERS * _HEADER_MARGIN),
            },
            # A method that HTTP does not know is one that the path does not have: 405, not 400.
            "http_protocol_options": {"allow_custom_methods": True},
            "http2_protocol_options": {
                "max_concurrent_streams": _STREAMS,
                # So that who sends a few times too much is answered, and does not meet a broken stream.
                "initial_stream_window_size": max(_LEAST_WINDOW, 4 * settings.max_body_bytes),
                "initial_connection_window_size": max(_LEAST_WINDOW, 8 * settings.max_body_bytes),
                **field,
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
                    # Nor does it decide on traces, which need no ID of any form.
                    "use_request_id_for_trace_sampling": False,
                }
            },
            "access_log": [access_log(log_file)],
            **tracing(settings.traces_url),
            "local_reply_config": local_reply_config(descriptors.page_folders),
            "http_filters": [
                *cors.response_filter(settings.cors_origins),
                *web_protocols.filters(root),
                strip_invalid_metadata(),
                rest_headers(keeps_origin=bool(settings.cors_origins)),
                grpc_status_filter(route_parts.GRPC_STATUS_OF_SUCCESS),
                *known_tokens.filters(root, settings),
                # Behind those: it sets what they would take for a mark of unknown tokens. Before the rest
                # that may answer.
                shares.line_filter(root, settings, route_parts.ANONYMOUS_CLUSTER),
                # Behind those, which take their wish from callers with too many answers to pack.
                _compressor(),
                *_rate_limit(settings.requests_per_s),
                direct_answers.file_rate_filter(),
                http_filter(
                    *(route_parts.BUFFER, "buffer.v3.Buffer"),
                    {"max_request_bytes": route_parts.ANONYMOUS_BYTES},
                ),
                http_filter(
                    *(direct_answers.LUA, "lua.v3.Lua"),
                    {
                        # A HEAD that is asked as GET keeps the route of HEAD.
                        "clear_route_cache": False,
                        "default_source_code": {
                            "inline_string": input_checks.source(root, descriptors, settings)
                        },
                    },
                ),
                once_let_in(http_filter(direct_answers.TRANSCODER, _TRANSCODER, transcoder)),
                web_protocols.details_filter(),
                ids_filter(route_parts.IDS_FILTER),
                grpc_status_filter(route_parts.GRPC_STATUS_OF_ERRORS),
                http_filter(
                    *("envoy.filters.http.router", "router.v3.Router"),
                    {"suppress_envoy_headers": True},
                ),
            ],
            "route_config": routes.route_config(
                descriptors,
                settings,
                {"@type": f"{_TYPES}.filters.http.{_TRANSCODER}"}
                | {**transcoder, "print_options": {**_PRINTED, "always_print_enums_as_ints": True}},
            ),
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
            remove({"prefix": "x-envoy-"}),
            remove({"exact": known_tokens.LINE_HEADER}),
            remove({"safe_regex": {"regex": self._not_forwarded}}),
            # One line of it, so that what the routes look at is what the server reads.
            set_to("grpc-encoding", "%REQ(GRPC-ENCODING)%"),
            set_to(
                "x-request-id", f"%CEL({_VALID_REQUEST_ID} ? request.headers['x-request-id'] : '')%"
            ),
        ]
        if over_tls:
            # Discovery sends callers back to where they came in.
            mutations.append(set_to("x-forwarded-host", "%REQ(:AUTHORITY)%", add=True))
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


def _compressor() -> dict[str, Any]:
    """Packs answers by gzip for callers who accept that; each takes 200 KB until its reader has it all."""
    return http_filter(
        *(direct_answers.COMPRESSOR, "compressor.v3.Compressor"),
        {
            "compressor_library": {
                "name": "gzip",
                "typed_config": {
                    "@type": f"{_TYPES}.compression.gzip.compressor.v3.Gzip",
                    # The others take several times as long for a tenth less.
                    "compression_level": "BEST_SPEED",
                    # More takes up to 350 KB for an answer, for a twentieth less.
                    "memory_level": 4,
                    "window_bits": 12,
                },
            },
            "response_direction_config": {
                "common_config": {
                    "min_content_length": input_checks.LEAST_PACKED,
                    "content_type": list(_COMPRESSED),
                }
            },
        },
    )


def _rate_limit(requests_per_s: int) -> list[dict[str, Any]]:
    if not requests_per_s:
        return []
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return [
        http_filter(
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
    return {
        "proto_descriptor": str(file),
        "services": list(descriptors.services),
        "match_incoming_request_route": True,
        "convert_grpc_status": True,
        "max_response_body_size": _LARGEST_ANSWER,
        "print_options": _PRINTED,
        "query_param_unescape_plus": True,
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
        },
    }
