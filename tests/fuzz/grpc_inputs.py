"""Native gRPC: every method with messages of every kind, in frames and with metadata of every kind."""

import gzip
from typing import Literal

from hypothesis import strategies as st

from tests.fuzz import protos
from tests.fuzz.headers import (
    authorizations,
    deadline_s,
    extra_headers,
    grpc_headers,
    is_legal_metadata,
)
from tests.fuzz.inputs import Header, Input, Known
from tests.fuzz.messages import messages

# These last as long as the caller likes.
_LASTING = ("Watch", "WaitOperation", "ServerReflectionInfo")
_WAIT: Header = (b"grpc-timeout", b"200m")


def calls(known: Known) -> st.SearchStrategy[Input]:
    """Returns calls of every method, through the gateway and straight to the server."""
    return st.one_of([_calls(name, known) for name in protos.methods()])


def _calls(name: str, known: Known) -> st.SearchStrategy[Input]:
    def build(
        transport: Literal["grpc", "grpc-direct"],
        body: bytes,
        authorization: tuple[Header, ...],
        content_type: bytes,
        steering: tuple[Header, ...],
        extra: tuple[Header, ...],
    ) -> Input:
        if name.endswith(_LASTING):
            steering = (_WAIT, *(pair for pair in steering if pair[0] != b"grpc-timeout"))
        if transport == "grpc-direct":
            steering, extra = (tuple(filter(is_legal_metadata, each)) for each in (steering, extra))
        service, _, method = name.rpartition(".")
        headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"/{service}/{method}".encode()),
            (b":authority", b"localhost"),
            (b"content-type", content_type),
            (b"te", b"trailers"),
            *authorization,
            *steering,
            *extra,
        )
        return Input(transport, body, headers, name, deadline_s(headers))

    return st.builds(
        build,
        st.sampled_from(["grpc", "grpc-direct"]),
        _framed(messages(protos.methods()[name].input_type, known)),
        authorizations(known),
        st.sampled_from([b"application/grpc"] * 5 + [b"application/grpc+proto"]),
        grpc_headers(),
        extra_headers(),
    )


def _framed(payloads: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Puts messages behind gRPC's prefix of a flag and a length, now and then a wrong one."""
    right = payloads.map(lambda payload: _frame(payload))
    wrong = st.one_of(
        payloads.map(lambda payload: _frame(gzip.compress(payload), flag=1)),
        payloads.map(lambda payload: _frame(payload, flag=1)),
        payloads.map(lambda payload: _frame(payload, flag=77)),
        payloads.map(lambda payload: _frame(payload) * 2),
        payloads.map(lambda payload: _frame(payload) + b"\0\0"),
        payloads.map(lambda payload: _frame(payload)[:-1]),
        payloads.map(lambda payload: _frame(payload, more=1)),
        payloads.map(lambda payload: _frame(payload, more=2**31)),
        st.just(b""),
    )
    return st.one_of(*[right] * 6, wrong)


def _frame(payload: bytes, flag: int = 0, more: int = 0) -> bytes:
    return bytes([flag]) + (len(payload) + more).to_bytes(4) + payload
