"""What Envoy answers by itself: files, the way to the documents, and refusals whose bodies are in `replies`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway import shares
from gateway.http_rules import Method
from gateway.settings import StaticFile

LUA = "envoy.filters.http.lua"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
COMPRESSOR = "envoy.filters.http.compressor"

OFF = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
LOCAL_FILTERS = dict.fromkeys((LUA, TRANSCODER), OFF)

# Envoy copies a file for each request, and holds the copy for as long as its reader likes; the largest
# is of 1.7 MB. So many requests for one file are answered at once and in a second, over all connections;
# half as many of one address (of IPv6 a /64), of which those that come last are known.
FILE_RATE = "rate_of_files"
_FILES_AT_ONCE, _FILES_PER_S = 30, 20
_ADDRESSES_KNOWN = 10_000
_ADDRESS = "masked_remote_address"
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_RATE_TYPE = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"


def _bucket(at_once: int, per_s: int) -> dict[str, Any]:
    return {"max_tokens": at_once, "tokens_per_fill": per_s, "fill_interval": "1s"}


_LIMITED = {
    "@type": _RATE_TYPE,
    "stat_prefix": FILE_RATE,
    "token_bucket": _bucket(_FILES_AT_ONCE, _FILES_PER_S),
    # One bucket for each address that there is, made as it comes.
    "descriptors": [
        {
            "entries": [{"key": _ADDRESS}],
            "token_bucket": _bucket(_FILES_AT_ONCE // 2, _FILES_PER_S // 2),
        }
    ],
    "max_dynamic_descriptors": _ADDRESSES_KNOWN,
    "rate_limits": [{"actions": [{_ADDRESS: {"v6_prefix_mask_len": 64}}]}],
    "filter_enabled": _ALWAYS,
    "filter_enforced": _ALWAYS,
}


def file_rate_filter() -> dict[str, Any]:
    """Returns the filter that limits requests for files, by the routes of these alone."""
    return {
        "name": FILE_RATE,
        "typed_config": {"@type": _RATE_TYPE, "stat_prefix": FILE_RATE},
    }


# Callers who accept gzip, unless by a weight of 0.
_GZIP = {
    "name": "accept-encoding",
    "string_match": {
        "safe_regex": {
            "regex": r"(?i)(?:.*,)?\s*gzip\s*(?:;\s*q=(?:1(?:\.0*)?|0?\.[0-9]*[1-9][0-9]*)\s*)?(?:,.*)?"
        }
    },
}
FROM_BROWSERS = {"name": "accept", "string_match": {"contains": "text/html"}}


def verb_match(expression: str) -> dict[str, Any]:
    """Returns what matches a request's method: one name, or several with | between."""
    return {"safe_regex": {"regex": expression}} if "|" in expression else {"exact": expression}


def root_answers() -> Iterable[dict[str, Any]]:
    """Yields what leads people to the documentation, and programs to its source."""
    match = {"path": "/"}
    verbs = {"name": ":method", "string_match": verb_match("GET|HEAD")}
    for name, accepted, goal in (
        ("GET / of browsers", [FROM_BROWSERS], "/docs"),
        ("GET /", [], "/openapi.json"),
    ):
        headers = [set_header("location", goal), {"header": {"key": "vary", "value": "accept"}}]
        there = {**match, "headers": [verbs, *accepted]}
        yield direct_answer(name, there, 302, headers=headers)
    yield direct_answer("* /", match, 405, headers=[set_header("allow", "GET, HEAD")])


def miscalled(methods: Iterable[Method]) -> Iterable[dict[str, Any]]:
    """Yields the answers for calls of methods by their own paths that are of no protocol."""
    post = {"headers": [{"name": ":method", "string_match": verb_match("POST")}]}
    for method in methods:
        if not method.is_page:
            match = {"path": method.path}
            yield direct_answer(f"POST {method.path}", {**match, **post}, 415)
            yield direct_answer(
                f"* {method.path}", match, 405, headers=[set_header("allow", "POST")]
            )


def file_answers(file: StaticFile) -> Iterable[dict[str, Any]]:
    """Yields the routes of a file that Envoy holds in memory, packed for those who accept that."""
    verbs = {"name": ":method", "string_match": verb_match("GET|HEAD")}
    headers = {"content-type": file.content_type, **file.headers}
    if file.packed:
        headers["vary"] = "Accept-Encoding"
        packed = headers | {"content-encoding": "gzip"}
        yield _file_answer(file, file.packed, [verbs, _GZIP], packed)
    yield _file_answer(file, file.file, [verbs], headers)
    match = {"path": file.path}
    yield direct_answer(f"* {file.path}", match, 405, headers=[set_header("allow", "GET, HEAD")])


def _file_answer(
    file: StaticFile, content: Path, asked: list[dict[str, Any]], headers: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "name": f"GET {file.path}",
        "match": {"path": file.path, "headers": asked},
        "direct_response": {"status": 200, "body": {"filename": str(content)}},
        "response_headers_to_add": [set_header(*each) for each in headers.items()],
        "typed_per_filter_config": {
            **LOCAL_FILTERS,
            **({COMPRESSOR: OFF} if file.packed else {}),
            FILE_RATE: _LIMITED,
            shares.FILTER: shares.ON,
        },
        "metadata": shares.METADATA,
    }


def direct_answer(
    name: str,
    match: dict[str, Any],
    status: int,
    headers: list[dict[str, Any]] | None = None,
    filters: Mapping[str, Any] = LOCAL_FILTERS,
) -> dict[str, Any]:
    """An answer of Envoy's own; `local_reply_config` gives it its body."""
    route: dict[str, Any] = {
        "name": name,
        "match": match,
        "direct_response": {"status": status},
        "typed_per_filter_config": {**filters, shares.FILTER: shares.ON},
        "metadata": shares.METADATA,
    }
    if headers:
        route["response_headers_to_add"] = headers
    return route


def set_header(key: str, value: str) -> dict[str, Any]:
    """Returns what gives a header this value, whether it is there or not."""
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
