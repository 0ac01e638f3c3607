"""Headers, for REST and as gRPC's metadata: the contract's own, odd ones, and many."""

import re
import string

from hypothesis import strategies as st

from tests.fuzz.inputs import Header, Known

Headers = st.SearchStrategy[tuple[Header, ...]]

_TOKEN = string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~"
_KEYS = [b"6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c%02x" % number for number in range(40)]
# Everything that a header's value may hold by RFC 9110.
_VALUE = st.lists(
    st.sampled_from([*range(0x21, 0x7F), 0x20, 0x09, *range(0x80, 0x100)]), max_size=30
).map(lambda codes: bytes(codes).strip())
_NAME = re.compile(rb"[0-9a-z_.-]+")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def authorizations(known: Known) -> st.SearchStrategy[tuple[Header, ...]]:
    """Mostly the right token; else none, or what is none."""
    right = b"Bearer " + known.token.encode()
    wrong = st.one_of(
        st.sampled_from(
            [
                b"",
                b"Bearer",
                b"Bearer ",
                b"bearer  " + known.token.encode(),
                b"Basic YTpi",
                b"Bearer " + known.token.encode()[:-1],
                b"Bearer " + known.jwt.encode(),
                b"Bearer a.b.c",
                b"Bearer eyJhbGciOiJub25lIn0.e30.",
                b"Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6IlwwIn0.e30.AAAA",
                b"Bearer " + b"a" * 9000,
            ]
        ),
        _VALUE,
        _VALUE.map(lambda value: b"Bearer " + value),
    ).map(lambda value: ((b"authorization", value),))
    rightly = st.just(((b"authorization", right),))
    return st.one_of(*[rightly] * 8, wrong, st.just(()))


def extra_headers() -> Headers:
    """A few headers more: those that the service reads, and those that should not matter to it."""
    several = st.lists(_one(), min_size=1, max_size=3).map(tuple)
    many = st.builds(
        lambda count, value: tuple((b"x-many-%d" % number, value) for number in range(count)),
        st.sampled_from([50, 99, 110]),
        _VALUE,
    )
    large = st.sampled_from([8_000, 24_000, 31_000]).map(lambda size: ((b"x-large", b"a" * size),))
    # The large ones are rare: they cost more than all others together.
    return st.one_of(*[st.just(())] * 24, *[several] * 34, many, large)


def _one() -> st.SearchStrategy[Header]:
    names = st.text(_TOKEN, min_size=1, max_size=12).map(str.encode)
    return st.one_of(
        st.tuples(st.just(b"idempotency-key"), st.sampled_from(_KEYS)),
        st.tuples(
            st.sampled_from([b"idempotency-key", b"x-request-id", b"x-client-request-id"]), _VALUE
        ),
        st.tuples(st.just(b"x-request-id"), st.sampled_from([b"", b"a", b"a" * 129, b"a b", b'"'])),
        st.tuples(
            st.sampled_from(
                [
                    b"traceparent",
                    b"tracestate",
                    b"x-forwarded-for",
                    b"x-forwarded-host",
                    b"x-forwarded-proto",
                    b"x-envoy-retry-on",
                    b"x-envoy-upstream-rq-timeout-ms",
                    b"x-envoy-expected-rq-timeout-ms",
                    b"x-envoy-original-path",
                    b"x-http-method-override",
                    b"accept",
                    b"accept-encoding",
                    b"accept-language",
                    b"cookie",
                    b"expect",
                    b"forwarded",
                    b"if-none-match",
                    b"range",
                    b"user-agent",
                    b"origin",
                    b"access-control-request-method",
                    b"max-forwards",
                ]
            ),
            st.one_of(_VALUE, st.sampled_from([b"5", b"100-continue", b"*/*", b"gzip", b"5xx"])),
        ),
        st.tuples(names.filter(_harmless), _VALUE),
        st.tuples(names.map(lambda name: name + b"-bin"), _VALUE),
    )


def _harmless(name: bytes) -> bool:
    """Whether a header is of no meaning to HTTP itself."""
    return name not in {b"te", b"host", b"upgrade", b"connection", b"content-length"}


def grpc_headers() -> Headers:
    """Headers by which gRPC itself is steered."""
    timeouts = st.sampled_from([b"1n", b"0n", b"50u", b"1m", b"20m", b"300m", b"5S"])
    odd = st.sampled_from([b"", b"abc", b"-1S", b"999999999H", b"1", b"S", b"1.5S", b"99999999H"])
    codings = st.sampled_from([b"identity", b"gzip", b"deflate", b"snappy", b"br", b"", b"gzip,x"])
    one = st.one_of(
        st.tuples(st.just(b"grpc-timeout"), timeouts),
        st.tuples(st.just(b"grpc-timeout"), odd),
        st.tuples(st.sampled_from([b"grpc-encoding", b"grpc-accept-encoding"]), codings),
        st.tuples(st.sampled_from([b"grpc-status", b"grpc-message", b"grpc-unknown"]), _VALUE),
        st.tuples(st.just(b"grpc-previous-rpc-attempts"), st.sampled_from([b"1", b"x"])),
        st.just((b"te", b"trailers")),
    )
    return st.one_of(st.just(()), st.just(()), st.lists(one, min_size=1, max_size=2).map(tuple))


def is_legal_metadata(header: Header) -> bool:
    """Whether gRPC allows the header; its core breaks off calls with others, which Envoy keeps away."""
    name, value = header
    if name == b"grpc-timeout":
        return bool(_TIMEOUT.fullmatch(value))
    if name == b"grpc-encoding":
        return value in {b"identity", b"gzip", b"deflate"}
    if name in {b"grpc-status", b"grpc-previous-rpc-attempts"}:
        return False
    return bool(_NAME.fullmatch(name)) and not name.endswith(b"-bin")


def deadline_s(headers: tuple[Header, ...]) -> float | None:
    """Returns the time that `grpc-timeout` gives; None without one that is well-formed."""
    given = [
        int(found[1]) * _UNITS[found[2]]
        for name, value in headers
        if name == b"grpc-timeout" and (found := _TIMEOUT.fullmatch(value))
    ]
    return min(given, default=None)
