"""REST requests that are right but for one or two things: JSON, paths, queries and headers mutated as text."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tests.fuzz.headers import authorizations, extra_headers
from tests.fuzz.inputs import Header, Input, Known
from tests.fuzz.messages import ODD_TEXT, Text, edits, good_text, is_needed, mutate
from tests.fuzz.routes import REST_TRANSPORTS, RestTransport, Route, identifiers, request, routes

_JSON: Header = (b"content-type", b"application/json")
_VARIABLE = re.compile(r"\{(\w+)\}")

_VERBS = st.sampled_from(
    [
        b"GET",
        b"POST",
        b"PUT",
        b"PATCH",
        b"DELETE",
        b"HEAD",
        b"OPTIONS",
        b"TRACE",
        b"QUERY",
        b"PROPFIND",
        b"get",
        b"X",
    ]
)
_JSON_PARTS = (
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"1e999", b"-0", b"01", b"NaN",
    b'"name":"x",', b'"nmae":1,', b"\\u0000", b"\\ud800", b"\\x", b"/**/", b"//\n", b"\xef\xbb\xbf",
    b"\xff", b"\0", b"\x0b", b"{}" * 40, b"[" * 70, b'{"person":' * 70, b'{"a":' * 3000, b"9" * 400, b"",
)  # fmt: skip
_PATH_PARTS = (
    b"/", b"//", b":", b":cancel", b"%2F", b"%00", b"%ff", b"%c0%af", b"%", b"%zz", b"..", b"/../", b"?",
    b"&", b"=", b"#", b";", b"*", b"%3A", b"?operationId=x", b"?operation%5Fid=x", b"?name=x", b"a" * 9000, b"",
)  # fmt: skip
_CONTENT_TYPES = (
    b"", b"text/plain", b"application/jsonx", b"application/json; charset=utf-8", b"application/json;",
    b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"application/grpc-web",
    b"APPLICATION/JSON", b"application/json, application/json", b"application/grpcx", b"*/*",
)  # fmt: skip


def mutated(known: Known) -> st.SearchStrategy[Input]:
    """Returns requests that are right but for one or two things, changed as text."""
    return st.one_of([_mutated(route, known) for route in routes()])


def _mutated(route: Route, known: Known) -> st.SearchStrategy[Input]:
    fields = _json(route.message, known, set(_VARIABLE.findall(route.path)))
    odd_values = st.one_of(st.none(), st.none(), st.none(), st.tuples(st.integers(0, 9), ODD_TEXT))

    def build(
        transport: RestTransport,
        ids: dict[str, str],
        values: dict[str, Any],
        odd: tuple[int, str] | None,
        authorization: tuple[Header, ...],
        extra: tuple[Header, ...],
        change: Callable[[_Draft], None],
    ) -> Input:
        texts = [name for name, value in values.items() if isinstance(value, str)]
        if odd and texts:
            values = {**values, texts[odd[0] % len(texts)]: odd[1]}
        draft = _Draft(
            verb=route.verb.encode(),
            path=_VARIABLE.sub(lambda name: quote(ids[name[1]], safe=""), route.path).encode(),
        )
        body = values.get(route.body, {}) if route.body else values
        values = {name: value for name, value in values.items() if name != route.body}
        if route.verb in ("GET", "DELETE") or (route.body and values):
            draft.path += b"?" + urlencode(values, doseq=True).encode() if values else b""
        if route.verb in ("POST", "PATCH"):
            draft.body = json.dumps(body, ensure_ascii=False).encode()
            draft.headers = [_JSON]
        before = draft.verb, draft.path
        change(draft)
        kept = route if before == (draft.verb, draft.path) else None
        # A target holds neither spaces nor control characters, and the raw transports send all else.
        path = re.sub(rb"[^!-~]", b"_", draft.path)
        headers = (*draft.headers, *authorization, *extra)
        return request(transport, kept, draft.verb, path or b"/", headers, draft.body)

    return st.builds(
        build,
        REST_TRANSPORTS,
        identifiers(known),
        fields,
        odd_values,
        authorizations(known),
        extra_headers(),
        _changes(),
    )


@dataclasses.dataclass
class _Draft:
    verb: bytes
    path: bytes
    body: bytes = b""
    headers: list[Header] = dataclasses.field(default_factory=list)


_Change = Callable[[_Draft], None]


def _changes() -> st.SearchStrategy[_Change]:
    """Returns changes of a request: of nothing, its body, path, verb or what the body is called."""

    def body(changes: Any) -> _Change:
        def change(draft: _Draft) -> None:
            draft.body = mutate(draft.body, changes)

        return change

    def path(changes: Any) -> _Change:
        def change(draft: _Draft) -> None:
            draft.path = b"/" + mutate(draft.path, changes).lstrip(b"/")

        return change

    def verb(name: bytes) -> _Change:
        def change(draft: _Draft) -> None:
            draft.verb = name

        return change

    def headers(*pairs: Header) -> _Change:
        def change(draft: _Draft) -> None:
            names = {name for name, _ in pairs}
            draft.headers = [pair for pair in draft.headers if pair[0] not in names] + list(pairs)

        return change

    def replaced(text: bytes) -> _Change:
        def change(draft: _Draft) -> None:
            draft.body = text

        return change

    whole = st.one_of(
        st.binary(max_size=100),
        st.sampled_from(
            [b"null", b"[]", b"1", b'""', b" ", b"{}" * 2, b" " * 1_100_000, b"[" * 60_000]
        ),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
    codings = st.sampled_from([b"gzip", b"identity", b"br", b"x", b"deflate, gzip", b""])
    return st.one_of(
        st.just(headers()),
        edits(_JSON_PARTS).map(body),
        edits(_JSON_PARTS).map(body),
        edits(_PATH_PARTS).map(path),
        edits(_PATH_PARTS).map(path),
        _VERBS.map(verb),
        whole.map(replaced),
        st.sampled_from(_CONTENT_TYPES).map(lambda value: headers((b"content-type", value))),
        codings.map(lambda value: headers((b"content-encoding", value))),
        st.just(headers((b"expect", b"100-continue"))),
        st.just(headers((b"connection", b"close"))),
        st.just(headers((b"connection", b"upgrade"), (b"upgrade", b"websocket"))),
    )


def _json(message: Descriptor, known: Known, bound: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Returns a message's fields as JSON has them, without those that the path holds."""
    needed: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in message.fields:
        if field.json_name in bound or (bound and field.name in {"name", "parent"}):
            continue
        (needed if is_needed(field) else optional)[field.json_name] = _value(field, known)
    return st.fixed_dictionaries(needed, optional=optional)


def _value(field: FieldDescriptor, known: Known) -> st.SearchStrategy[Any]:
    value = _one_value(field, known)
    return st.lists(value, max_size=2) if field.is_repeated else value


def _one_value(field: FieldDescriptor, known: Known) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        text: Text = good_text(field, known)
        return text
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _json(field.message_type, known, set())
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.sampled_from(["true", "false"])
    return st.integers(0, 1000)
