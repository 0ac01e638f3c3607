"""The operations of the REST description, and requests to them."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor
from hypothesis import strategies as st

from tests.fuzz import protos
from tests.fuzz.inputs import Header, Input, Known
from tests.gateway.openapi_document import DOCUMENT

RestTransport = Literal["rest-h1", "rest-h2"]
REST_TRANSPORTS: st.SearchStrategy[RestTransport] = st.sampled_from(["rest-h1", "rest-h2"])
# What means something to one connection alone has no place in HTTP/2.
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
}


@dataclass(frozen=True)
class Route:
    """One operation of the description: verb, path with variables, message, and how it is called.

    `body` is the field that the body fills, "" where it fills the whole message.
    """

    verb: str
    path: str
    message: Descriptor
    body: str

    @property
    def label(self) -> str:
        return f"{self.verb} {self.path}"


@cache
def routes() -> tuple[Route, ...]:
    """Returns all operations of the description."""
    methods = {
        name.rpartition(".")[0].rpartition(".")[2] + name[name.rindex(".") :]: method
        for name, method in protos.methods().items()
    }

    def route(verb: str, path: str, operation_id: str) -> Route:
        method = methods[operation_id.rstrip("0123456789")]
        body = method.GetOptions().Extensions[annotations_pb2.http].body.strip("*")
        return Route(verb.upper(), path, method.input_type, body)

    return tuple(
        route(verb, path, operation["operationId"])
        for path, item in DOCUMENT["paths"].items()
        for verb, operation in item.items()
        if verb in {"get", "post", "put", "patch", "delete"}
        # A stream has no end that could be waited for.
        and "application/json" in operation["responses"]["200"]["content"]
    )


def request(
    transport: RestTransport,
    route: Route | None,
    verb: bytes,
    path: bytes,
    headers: tuple[Header, ...],
    body: bytes,
) -> Input:
    """Returns a request to Envoy; `route` is given where verb and path are still its own."""
    pseudo = (
        (b":method", verb),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
    )
    if transport == "rest-h2":
        headers = tuple(pair for pair in headers if pair[0] not in _HOP_BY_HOP)
    return Input(transport, body, (*pseudo, *headers), route.label if route else "")


def identifiers(known: Known) -> st.SearchStrategy[dict[str, str]]:
    """Returns values for all variables of paths that name what is there."""
    return st.fixed_dictionaries(
        {
            "apiEndpointId": st.sampled_from(["billing", "iam"]),
            "customerId": st.sampled_from(known.customer_ids),
            "customersId": st.sampled_from(known.customer_ids),
            "eventsId": st.sampled_from(known.event_ids),
            "id": st.just(known.reseller_id),  # the reseller's own billing account
            "invitationsId": st.sampled_from(known.invitation_ids),
            "operationId": st.sampled_from(known.operation_ids),
            "operationsId": st.sampled_from(known.operation_ids),
            "resourceId": st.just(known.reseller_id),
            "resellersId": st.just(known.reseller_id),
            # Of none that is there: only what came back makes one.
            "suppressionsId": st.just("sup00000000000000000"),
            "webhooksId": st.sampled_from(known.webhook_ids),
        }
    )
