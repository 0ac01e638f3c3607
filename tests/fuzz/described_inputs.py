"""REST as schemathesis makes it of the description: requests that fit it, and ones that do not."""

from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.fuzz.inputs import Input, Known
from tests.fuzz.routes import REST_TRANSPORTS, RestTransport, Route, identifiers, request, routes
from tests.gateway.openapi_document import DOCUMENT_TO_GENERATE_FROM

schemathesis.openapi.format("phone", st.sampled_from(["+7 495 123-45-67", "8 (812) 555 44 33"]))
_SCHEMA = schemathesis.openapi.from_dict(DOCUMENT_TO_GENERATE_FROM)
_RESELLER = "resellerId"


def described(known: Known) -> st.SearchStrategy[Input]:
    """Returns what schemathesis generates: requests that fit the description, and ones that do not."""
    return st.one_of(
        [
            _described(_SCHEMA[route.path][route.verb], route, mode, known)
            for route in routes()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        ]
    )


def _described(
    operation: Any, route: Route, mode: GenerationMode, known: Known
) -> st.SearchStrategy[Input]:
    def build(case: Any, transport: RestTransport, rightly: bool, ids: dict[str, str]) -> Input:
        if mode is GenerationMode.POSITIVE:
            _name_what_exists(case, known, ids if rightly else {})
        arguments = case.as_transport_kwargs(base_url="http://localhost")
        names = ("method", "url", "headers", "params", "data", "json", "cookies", "files")
        prepared = requests.Request(
            **{name: arguments[name] for name in names if name in arguments}
        ).prepare()
        headers = tuple(
            (_bytes(name).lower(), _bytes(value))
            for name, value in prepared.headers.items()
            if name.lower() not in {"content-length", "authorization", "host"}
        )
        sent = prepared.headers.get("Authorization")
        token = f"Bearer {known.token}" if rightly else sent
        if token is not None:
            headers += ((b"authorization", _bytes(token)),)
        return request(
            transport,
            route,
            _bytes(prepared.method or ""),
            _bytes(prepared.path_url),
            headers,
            _body(prepared.body),
        )

    cases = operation.as_strategy(generation_mode=mode)
    rightly = st.sampled_from([True, True, True, False])
    return st.builds(build, cases, REST_TRANSPORTS, rightly, identifiers(known))


def _name_what_exists(case: Any, known: Known, ids: dict[str, str]) -> None:
    for part in ("query", "body"):
        values = getattr(case, part)
        if isinstance(values, dict) and isinstance(values.get(_RESELLER), str):
            setattr(case, part, {**values, _RESELLER: known.reseller_id})
    given = case.path_parameters or {}
    case.path_parameters = {name: ids.get(name, value) for name, value in given.items()}


def _body(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1", "replace")
