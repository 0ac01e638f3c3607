"""Bytes on a connection: requests in HTTP/1.1 and frames of HTTP/2, both broken in many ways."""

import hpack
from hypothesis import strategies as st

from tests.fuzz.inputs import Input, Known
from tests.fuzz.messages import edits, mutate

_H1_PARTS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b": ", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
    b"Host: a\r\n", b"Host: \r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: +2\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"X\x7f: a\r\n", b"a~b: c\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"ffffffffffffffff\r\n", b"1;" + b"x" * 5000 + b"\r\n", b"CONNECT x:1 HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"http://a/operations/b", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"\xff", b"\x16\x03\x01",
    b"x: " + b"a" * 70_000 + b"\r\n", b"y: z\r\n" * 200, b"",
)  # fmt: skip
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS_FRAME = b"\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0fuzzping"
_END_STREAM, _END_HEADERS = 0x1, 0x4


def h1_bytes(known: Known) -> st.SearchStrategy[Input]:
    """Returns what begins as one or two requests over HTTP/1.1."""
    token = b"Authorization: Bearer " + known.token.encode() + b"\r\n"
    json_type = b"Content-Type: application/json\r\n"
    invite = (
        b'{"resellerId":"%s","name":"n","invitationEmail":"raw@example.com","person":{}}'
        % known.reseller_id.encode()
    )
    get = b"GET /operations/%s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (
        known.operation_ids[0].encode(),
        token,
    )
    post = b"POST /billing/v1/customers:invite HTTP/1.1\r\nHost: a\r\n%s%s" % (token, json_type)
    whole = post + b"Content-Length: %d\r\n\r\n" % len(invite) + invite
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(invite),
        invite,
    )
    bases = st.sampled_from([get, whole, chunked, whole + get, chunked + whole, get + get])
    mutated = st.builds(mutate, bases, edits(_H1_PARTS))
    cut = st.builds(lambda text, at: text[: at % len(text)], bases, st.integers(1, 1000))
    junk = st.one_of(st.binary(min_size=1, max_size=200), edits(_H1_PARTS).map(_joined))
    return (
        st.one_of(mutated, mutated, mutated, cut, junk)
        .filter(bool)
        .map(lambda data: Input("raw-h1", data))
    )


def _joined(changes: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(part for _, _, part in changes)


def h2_frames(known: Known) -> st.SearchStrategy[Input]:
    """Returns what begins as a connection of HTTP/2; a PING at its end asks for a sign of life."""
    frames = st.lists(st.one_of(_right_frame(known), _any_frame(known)), max_size=8).map(b"".join)
    right = frames.map(lambda data: _PREFACE + _SETTINGS_FRAME + data + PING)
    mutated = st.builds(mutate, right, edits((b"\0", b"\xff", b"\x01", PING, _PREFACE, b"")))
    return st.one_of(right, right, mutated).map(lambda data: Input("raw-h2", data))


def _frame(kind: int, flags: int, stream: int, payload: bytes, more: int = 0) -> bytes:
    length = max(0, len(payload) + more) & 0xFFFFFF
    return length.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _blocks(known: Known) -> st.SearchStrategy[bytes]:
    """Returns header blocks, without the dynamic table: good, against HTTP/2's rules, or no HPACK."""
    good = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/operations/" + known.operation_ids[0].encode()),
        (b":authority", b"localhost"),
        (b"authorization", b"Bearer " + known.token.encode()),
    ]
    wrong = [
        (b":path", b"/again"),
        (b":protocol", b"websocket"),
        (b":method", b"CONNECT"),
        (b":unknown", b"x"),
        (b"Upper", b"x"),
        (b"connection", b"close"),
        (b"te", b"gzip"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"other"),
        (b"content-length", b"7"),
        (b"a b", b"x"),
        (b"a", b"x\r\ny: z"),
        (b"a", b"\0"),
        (b"authorization", b"\x01\x1f"),
        (b"x-request-id", b"\x7f"),
        (b"", b"x"),
        (b":path", b""),
        (b":scheme", b"foo"),
        (b"cookie", b"a" * 3000),
        (b"a~b", b"x"),
        (b"content-type", b"application/grpc"),
    ]
    encoder = hpack.Encoder()

    def encode(pairs: list[tuple[bytes, bytes]]) -> bytes:
        # Marked sensitive: literals that are never indexed, so that blocks don't depend on others.
        return bytes(encoder.encode([(name, value, True) for name, value in pairs]))

    def build(gone: int, added: list[tuple[bytes, bytes]], at: int) -> bytes:
        pairs = [pair for place, pair in enumerate(good) if place != gone]
        return encode(pairs[:at] + added + pairs[at:])

    return st.one_of(
        st.just(encode(good)),
        st.builds(
            build,
            st.integers(0, 9),
            st.lists(st.sampled_from(wrong), min_size=1, max_size=2),
            st.integers(0, 5),
        ),
        st.binary(max_size=40),
    )


def _right_frame(known: Known) -> st.SearchStrategy[bytes]:
    streams = st.sampled_from([1, 1, 3, 5])
    flags = st.sampled_from([_END_HEADERS | _END_STREAM, _END_HEADERS, _END_HEADERS | _END_STREAM])
    return st.one_of(
        st.builds(
            lambda flag, stream, block: _frame(1, flag, stream, block),
            flags,
            streams,
            _blocks(known),
        ),
        st.builds(
            lambda stream, data: _frame(0, _END_STREAM, stream, data),
            streams,
            st.binary(max_size=50),
        ),
        st.builds(lambda stream: _frame(3, 0, stream, b"\0\0\0\x08"), streams),
        st.builds(lambda by: _frame(8, 0, 0, by.to_bytes(4)), st.sampled_from([1, 2**31 - 1])),
        st.just(_SETTINGS_FRAME),
        st.just(PING),
    )


def _any_frame(known: Known) -> st.SearchStrategy[bytes]:
    payloads = st.one_of(
        _blocks(known),
        st.binary(max_size=30),
        st.sampled_from([16_384, 16_385, 70_000]).map(lambda size: b"a" * size),
        # Settings: a tiny frame size, a huge table, a window past its end.
        st.sampled_from(
            [b"\0\5\0\0\0\1", b"\0\1\xff\xff\xff\xff", b"\0\4\xff\xff\xff\xff", b"\0\2\0\0\0\2"]
        ),
    )
    return st.builds(
        _frame,
        st.integers(0, 12),
        st.integers(0, 255),
        st.sampled_from([0, 1, 2, 3, 101, 2**31 - 1, 2**32 - 1]),
        payloads,
        st.sampled_from([0, 0, 0, 0, -1, 1, 9]),
    )
