"""Bytes to a connection and what comes of them: answers, an end, or nothing where nothing is due."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from tests.fuzz.inputs import Input
from tests.fuzz.raw_inputs import PING
from tests.fuzz.wire import Answer, connect, parse_h1, received

# How long an answer is waited for before others are sent meanwhile, if one is due or not.
_SOON_S, _NOT_DUE_S = 0.1, 0.02
# How long more may follow what looks like all.
_MORE_S, _MORE_STREAMS_S = 0.003, 0.02


@dataclass
class Outcome:
    """What came back. `end` is "open", "closed", "goaway", or "silent" where an answer is due."""

    end: str
    answers: list[Answer] = field(default_factory=list)


class RawExchange:
    """One connection to which the bytes of an input have been sent."""

    def __init__(self, address: tuple[str, int], sent: Input) -> None:
        self._h2 = sent.transport == "raw-h2"
        self._due = _is_h2_due(sent.body) if self._h2 else _is_h1_due(sent.body)
        self._connection = connect(address, sent.body)
        self._got = b""

    def close(self) -> None:
        self._connection.close()

    def soon(self) -> Outcome:
        """Reads for a moment; a "silent" outcome is read on with `read` at another time."""
        outcome = self.read(_SOON_S if self._due else _NOT_DUE_S)
        if outcome.end == "silent" and not self._due:
            outcome.end = "open"
        return outcome

    def read(self, within_s: float) -> Outcome:
        """Reads until all that is due is there, the connection ends, or the time is over."""
        deadline = time.monotonic() + within_s
        while True:
            h1 = not self._h2 or self._got.startswith(b"HTTP/1.")
            whole = _is_h1_whole(self._got) if h1 else _is_h2_whole(self._got)
            more_s = _MORE_S if h1 else _MORE_STREAMS_S
            part = received(self._connection, more_s if whole else deadline - time.monotonic())
            self._got += part or b""
            if not part:
                end = "closed" if part is None else "open" if whole else "silent"
                return _parse_h1(self._got, end) if h1 else _parse_h2(self._got, end)


def _is_h1_due(data: bytes) -> bool:
    """Whether an HTTP/1.1 server has something to say to the beginning of these bytes."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    try:
        server.receive_data(data)
        while True:
            event = server.next_event()
            if event is h11.NEED_DATA:
                return False
            if event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
                return True
    except h11.RemoteProtocolError:
        return True


def _is_h2_due(data: bytes) -> bool:
    """Whether the PING at the end is read as a frame, by the lengths of those before it."""
    at = data.find(b"SM\r\n\r\n") + 6
    while at + 9 <= len(data):
        at += 9 + int.from_bytes(data[at : at + 3])
    return at == len(data) and data.endswith(PING)


def _is_h1_whole(got: bytes) -> bool:
    return bool(got) and all(answer.end == "whole" for answer in parse_h1(got))


def _is_h2_whole(got: bytes) -> bool:
    """Whether the PING is answered or the end announced; behind that Envoy waits for a second."""
    return b"fuzzping" in got or any(isinstance(frame, GoAwayFrame) for frame in _frames(got))


def _parse_h1(got: bytes, end: str) -> Outcome:
    return Outcome(end, [answer for answer in parse_h1(got) if answer.status != 100])


def _parse_h2(got: bytes, end: str) -> Outcome:
    decoder = hpack.Decoder()
    streams: dict[int, Answer] = {}
    for frame in _frames(got):
        if isinstance(frame, HeadersFrame):
            pairs = [
                (bytes(name), bytes(value)) for name, value in decoder.decode(frame.data, raw=True)
            ]
            answer = streams.setdefault(frame.stream_id, Answer("closed"))
            if answer.status is None:
                answer.status = int(dict(pairs)[b":status"])
                answer.headers = [pair for pair in pairs if not pair[0].startswith(b":")]
            else:
                answer.trailers = pairs
        elif isinstance(frame, RstStreamFrame):
            streams.pop(frame.stream_id, None)
        elif isinstance(frame, GoAwayFrame):
            end = "goaway"
        elif not isinstance(frame, PingFrame) and frame.stream_id in streams:
            streams[frame.stream_id].body += getattr(frame, "data", b"")
        if "END_STREAM" in frame.flags and frame.stream_id in streams:
            streams[frame.stream_id].end = "whole"
    return Outcome(end, [answer for answer in streams.values() if answer.end == "whole"])


def _frames(got: bytes) -> Iterator[Frame]:
    at = 0
    while at + 9 <= len(got):
        frame, length = Frame.parse_frame_header(memoryview(got[at : at + 9]))
        if at + 9 + length > len(got):
            return
        try:
            frame.parse_body(memoryview(got[at + 9 : at + 9 + length]))
        except HyperframeError:
            return
        yield frame
        at += 9 + length
