"""Filters that change headers: what neither callers nor servers may say to each other."""

from typing import Any

from gateway import known_tokens

_TYPES = "type.googleapis.com/envoy.extensions"
REST_HEADERS = "rest_headers"
# What REST callers' HTTP libraries send and no servicer reads; each would be metadata to unpack.
_USELESS_HEADERS = (
    "accept-charset|cache-control|cookie|dnt|expect|forwarded|from|pragma",
    "priority|range|referer|upgrade-insecure-requests|user-agent|via|x-real-ip",
    "(if|sec)-.+",
)
# Of gRPC's own headers a caller may send grpc-timeout, grpc-encoding and grpc-accept-encoding.
_NOT_FOR_CALLERS = "internal-.*|message|previous-rpc-attempts|retry-pushback-ms|status"
_ANY = {"safe_regex": {"regex": ".*"}}


def strip_invalid_metadata() -> dict[str, Any]:
    """Removes headers that break gRPC's rules for metadata, of REST and native callers alike.

    The server's core would end the call with an error, and later calls on the same connection too.
    Binary metadata goes as a whole: no servicer reads it, and its values have rules as well. Of the
    answers it takes what the server and the routes tell the gateway alone.
    """
    ours = [
        remove({"exact": name}) for name in (known_tokens.KNOWN_HEADER, known_tokens.LINE_HEADER)
    ]
    invalid = (
        # Pseudo-headers begin with a colon.
        {"safe_regex": {"regex": "[^:]*[^:0-9a-z_.-][^:]*"}},
        {"suffix": "-bin"},
        {"safe_regex": {"regex": f"grpc-({_NOT_FOR_CALLERS})"}},
    )
    return http_filter(
        *("strip_invalid_metadata", "header_mutation.v3.HeaderMutation"),
        {
            "mutations": {
                "request_mutations": [remove(names) for names in invalid],
                "request_trailers_mutations": [remove(_ANY)],
                "response_mutations": ours,
                "response_trailers_mutations": ours,
            }
        },
    )


def strict_transport(for_s: int) -> dict[str, Any]:
    """Has browsers use TLS alone for this many seconds (HSTS, RFC 6797); with 0 they forget it.

    Browsers keep it for all ports of a host, so for localhost it would close http://localhost:8080
    and whatever else is developed there.
    """
    header = set_to("strict-transport-security", f"max-age={for_s}", add=True)
    return http_filter(
        *("strict_transport", "header_mutation.v3.HeaderMutation"),
        {"mutations": {"response_mutations": [header]}},
    )


def rest_headers(*, keeps_origin: bool) -> dict[str, Any]:
    """REST callers neither send nor see gRPC's own headers."""
    grpcs = [remove({"prefix": "grpc-"}), remove({"suffix": "-bin"})]
    names_of_useless = _USELESS_HEADERS if keeps_origin else (*_USELESS_HEADERS, "origin")
    useless = [remove({"safe_regex": {"regex": names}}) for names in names_of_useless]
    return http_filter(
        *(REST_HEADERS, "header_mutation.v3.HeaderMutation"),
        {
            "mutations": {
                "request_mutations": [*grpcs, *useless],
                "response_mutations": grpcs,
                "response_trailers_mutations": [remove(_ANY)],
            }
        },
    )


def http_filter(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns an HTTP filter; `kind` is its configuration's type, from the extension's name on."""
    return {
        "name": name,
        "typed_config": {"@type": f"{_TYPES}.filters.http.{kind}", **config},
    }


def remove(name: dict[str, Any]) -> dict[str, Any]:
    """Returns the mutation that takes away all headers with such a name."""
    return {"remove_on_match": {"key_matcher": name}}


def set_to(key: str, value: str, *, add: bool = False) -> dict[str, Any]:
    """Returns the mutation that gives a header one value, with `add` also where there was none."""
    return {
        "append": {
            "header": {"key": key, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" if add else "OVERWRITE_IF_EXISTS",
            "keep_empty_value": True,
        }
    }


def once_let_in(made: dict[str, Any]) -> dict[str, Any]:
    """Returns a filter that makes another one when the request comes to it, under the same name.

    Envoy makes those of a request as soon as its headers are read, and would hold them while it waits
    for its turn, or is refused: a third of what it takes.
    """
    composite = {"@type": f"{_TYPES}.filters.http.composite.v3.Composite"}
    action = {
        "@type": f"{_TYPES}.filters.http.composite.v3.ExecuteFilterAction",
        "typed_config": made,
    }
    return {
        "name": made["name"],
        "typed_config": {
            "@type": f"{_TYPES}.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": made["name"], "typed_config": composite},
            "xds_matcher": {"on_no_match": {"action": {"name": "make", "typed_config": action}}},
        },
    }
