"""Bytes to a connection and what comes of them: answers, an end, or nothing where nothing is due."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from tests.fuzz.raw_inputs import PING
from tests.fuzz.wire import Answer, connect, parse_h1, received

# How long more may follow, once there is an answer or none is due.
_MORE_S = 0.003
_NOTHING_DUE_S = 0.02
# How long an answer is waited for before others are sent meanwhile.
_SOON_S = 0.3


@dataclass
class Outcome:
    """What came back. `end` is "open", "closed", "goaway", or "silent" where an answer is due."""

    end: str
    answers: list[Answer] = field(default_factory=list)
    resets: int = 0


def send_raw_h1(address: tuple[str, int], data: bytes) -> tuple[Outcome, socket.socket]:
    """Sends bytes and reads for a moment; a "silent" outcome has to be read on from the connection."""
    connection = connect(address, data)
    due = _is_whole_or_wrong(data)
    outcome = read_raw_h1(connection, _SOON_S if due else _NOTHING_DUE_S)
    if outcome.end == "silent" and not due:
        outcome.end = "open"
    return outcome, connection


def read_raw_h1(connection: socket.socket, within_s: float) -> Outcome:
    """Reads until the answers are whole and no more follow, the connection ends, or the time is over."""
    deadline = time.monotonic() + within_s
    got = b""
    while True:
        whole = got and _is_whole(got)
        part = received(connection, _MORE_S if whole else deadline - time.monotonic())
        if part is None:
            end = "closed"
            break
        got += part
        if not part:
            end = "open" if whole else "silent"
            break
    return Outcome(end, [answer for answer in parse_h1(got) if answer.status != 100])


def _is_whole(got: bytes) -> bool:
    return all(answer.end == "whole" for answer in parse_h1(got))


def _is_whole_or_wrong(data: bytes) -> bool:
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


def exchange_raw_h2(address: tuple[str, int], data: bytes, within_s: float) -> Outcome:
    """Sends bytes and reads until the last PING is answered, the connection ends, or nothing is due."""
    due = data.endswith(PING) and _frames_are_whole(data)
    deadline = time.monotonic() + (within_s if due else _NOTHING_DUE_S)
    got, ending = b"", False
    with connect(address, data) as connection:
        while True:
            part = received(connection, _NOTHING_DUE_S if ending else deadline - time.monotonic())
            if part is None:
                end = "closed"
                break
            got += part
            # Behind GOAWAY Envoy holds the connection for a second.
            ending = ending or b"fuzzping" in got or any(map(_is_goaway, _frames(got)))
            if not part:
                end = "open" if ending or not due else "silent"
                break
    if got.startswith(b"HTTP/1."):
        return Outcome(end, parse_h1(got))
    return _parse_h2(got, end)


def _frames_are_whole(data: bytes) -> bool:
    """Whether the PING at the end is read as a frame, by the lengths of those before it."""
    at = data.find(b"SM\r\n\r\n") + 6
    while at + 9 <= len(data):
        at += 9 + int.from_bytes(data[at : at + 3])
    return at == len(data)


def _is_goaway(frame: Frame) -> bool:
    return isinstance(frame, GoAwayFrame)


def _parse_h2(got: bytes, end: str) -> Outcome:
    outcome = Outcome(end)
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
            outcome.resets += 1
            streams.pop(frame.stream_id, None)
        elif isinstance(frame, GoAwayFrame):
            outcome.end = "goaway"
        elif not isinstance(frame, PingFrame) and frame.stream_id in streams:
            streams[frame.stream_id].body += getattr(frame, "data", b"")
        if "END_STREAM" in frame.flags and frame.stream_id in streams:
            streams[frame.stream_id].end = "whole"
    outcome.answers = [answer for answer in streams.values() if answer.end == "whole"]
    return outcome


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
