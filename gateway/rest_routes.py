"""Routes of the REST bindings, and of the pages for browsers."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from gateway import pages
from gateway.direct_answers import (
    COMPRESSOR,
    OFF,
    direct_answer,
    set_header,
    verb_match,
)
from gateway.http_rules import Method, Rule
from gateway.input_checks import DEADLINE_MARGIN_S
from gateway.route_parts import (
    BUFFER,
    CLUSTER,
    IDS_FILTER,
    POLL_INTERVAL,
    READ_RETRY,
    RETRY,
    STREAMS_CLUSTER,
    buffer_of,
    by_credentials,
)
from gateway.settings import GatewaySettings

_SERVER_SENT = "text/event-stream"
# Far above a form, whose limit the script in lua/ knows: Envoy's limit is one for request and
# answer, and this is above every page.
_PAGE_BYTES = 64 << 10
# Whose answers hold tokens or secrets, which no cache may keep.
SECRETS = (
    "/yandex.cloud.iam.v1.IamTokenService/",
    "/billing.v1.InvitationService/CreateInvitationLink",
    "/billing.v1.WebhookService/CreateWebhook",
    "/billing.v1.WebhookService/RotateWebhookSecret",
)


def page_routes(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the routes of pages for browsers, which ask for HEAD too before they open a link."""
    folders: dict[str, list[tuple[Method, Rule]]] = defaultdict(list)
    for method in methods:
        if method.is_page:
            for rule in method.rules:
                folders[rule.folder].append((method, rule))
    for folder, bindings in folders.items():
        match = {"safe_regex": {"regex": pages.pattern(folder)}}
        allowed = ["HEAD"]
        for method, rule in bindings:
            verb = "GET|HEAD" if rule.verb == "GET" else rule.verb
            route = binding(method, rule, match, settings, verb)
            # The page's form and what a link says stand side by side: their length would tell.
            route["typed_per_filter_config"] = {BUFFER: buffer_of(_PAGE_BYTES), COMPRESSOR: OFF}
            route["response_headers_to_add"] = _PAGE_HEADERS
            allowed.append(rule.verb)
            yield from by_credentials(method, route, settings.max_body_bytes)
        yield direct_answer(
            f"* {bindings[0][1].template}",
            match,
            405,
            headers=[set_header("allow", ", ".join(sorted(allowed))), *_PAGE_HEADERS],
        )


def rest_routes(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the bindings path by path, each path closed by the answer for other HTTP methods."""
    by_pattern: dict[str, list[tuple[Method, Rule]]] = defaultdict(list)
    for method in methods:
        for rule in method.rest_rules:
            by_pattern[rule.pattern].append((method, rule))
    # What is more exact goes first, as in the transcoder.
    for pattern in sorted(by_pattern, key=lambda pattern: (pattern.count("["), pattern)):
        bindings = by_pattern[pattern]
        rule = bindings[0][1]
        match: dict[str, Any] = (
            {"safe_regex": {"regex": pattern}} if rule.variables else {"path": rule.template}
        )
        for method, rule in bindings:
            route = binding(method, rule, match, settings, rule.verb)
            for each in _rest_streams(route) if method.streaming else (route,):
                yield from by_credentials(method, each, settings.max_body_bytes)
        yield direct_answer(
            f"* {rule.template}",
            match,
            405,
            headers=[set_header("allow", ", ".join(sorted(rule.verb for _, rule in bindings)))],
        )


def _rest_streams(route: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the routes of a stream: one for who asks for server-sent events, one for all others."""
    accepts = {
        "name": "accept",
        "string_match": {"contains": _SERVER_SENT, "ignore_case": True},
    }
    match = route["match"]
    asked = {**match, "headers": [*match["headers"], accepts]}
    yield stream({**route, "match": asked}, _SERVER_SENT)
    yield stream(route, "application/x-ndjson")


def stream(route: dict[str, Any], sent: str) -> dict[str, Any]:
    """Returns the route of a stream whose bytes are of that content type.

    Its length is the caller's affair: it has no deadline, and no browser, proxy or cache may keep it.
    """
    action = {
        **route["route"],
        "cluster": STREAMS_CLUSTER,
        "timeout": "0s",
        # The server looks at who reads too slowly.
        "idle_timeout": "0s",
    }
    return {
        **route,
        "route": action,
        # Whatever else the caller accepts.
        "request_headers_to_add": [set_header("accept", sent)],
        "response_headers_to_add": [
            set_header("cache-control", "no-store"),
            set_header("x-accel-buffering", "no"),
        ],
    }


def binding(
    method: Method, rule: Rule, match: dict[str, Any], settings: GatewaySettings, verbs: str
) -> dict[str, Any]:
    """Returns the route of a REST binding; `verbs` is a regular expression."""
    # A wait is answered with what there is when the caller's time is over; all else is Envoy's to end.
    deadline_s = settings.timeout_s + (0 if method.waits else DEADLINE_MARGIN_S)
    route: dict[str, Any] = {
        "name": rule.name,
        "match": {
            **match,
            "headers": [{"name": ":method", "string_match": verb_match(verbs)}],
        },
        "route": {
            "cluster": CLUSTER,
            "timeout": f"{settings.timeout_s:g}s",
            "retry_policy": READ_RETRY if method.only_reads else RETRY,
        },
        # The server gives up when the caller's answer is due.
        "request_headers_to_add": [set_header("grpc-timeout", f"{deadline_s * 1000:.0f}m")],
    }
    if method.is_polled:
        route["response_headers_to_add"] = [POLL_INTERVAL]
    if method.path.startswith(SECRETS):
        route["response_headers_to_add"] = [set_header("cache-control", "no-store")]
    if rule.verb == "HEAD":
        # Has the script in lua/ look at a success too, whose body is in no answer.
        route.setdefault("response_headers_to_add", []).append(set_header("x-http-status", "200"))
    if method.streaming or rule.verb == "HEAD" or method.path.startswith(SECRETS):
        # Each message of a stream must go at once. Of secrets the length could tell, beside what
        # the caller sent.
        route["typed_per_filter_config"] = {COMPRESSOR: OFF}
    if method.streaming:
        route["typed_per_filter_config"][IDS_FILTER] = OFF
    return route


# The server's own pages have a stricter one of each.
_PAGE_HEADERS = [
    {"header": {"key": key, "value": value}, "append_action": "ADD_IF_ABSENT"}
    for key, value in pages.HEADERS.items()
]
