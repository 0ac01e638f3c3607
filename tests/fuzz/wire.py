"""Takes inputs to the service and notes what comes back; judges nothing."""

import contextlib
import gzip
import http.client
import io
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hpack

from tests.fuzz.inputs import Header, Input

# Streams of one connection before the next is opened.
_STREAMS = 500
_CHUNK = 1 << 16


@dataclass
class Answer:
    """One answer. `end` is "whole", or how it broke off: "reset …", "goaway …", "closed", "silent"."""

    end: str
    status: int | None = None
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Header] = field(default_factory=list)

    @property
    def plain_body(self) -> bytes:
        """The body as it was before it was compressed."""
        packed = self.header(b"content-encoding") == "gzip"
        return gzip.decompress(self.body) if packed else self.body

    def header(self, name: bytes) -> str:
        """Returns a header's or trailer's value, "" where there is none."""
        found = (value for key, value in (*self.headers, *self.trailers) if key == name)
        return next(found, b"").decode("latin-1")


class _Encoder(hpack.Encoder):
    """Without Huffman coding, which hpack takes long for where values are long."""

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        return bytes(super().encode(headers, huffman=False))


class H2Client:
    """One HTTP/2 connection at a time, which sends requests as they are, however wrong."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._connection: h2.connection.H2Connection
        self._streams = 0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def exchange(self, sent: Input, within_s: float) -> Answer:
        """Sends one request and returns its answer, or "silent" when the time is over."""
        deadline = time.monotonic() + within_s
        if self._socket is None or self._streams >= _STREAMS or self._has_ended():
            self._open()
        self._streams += 1
        stream = self._connection.get_next_available_stream_id()
        answer = Answer("")
        try:
            self._connection.send_headers(stream, list(sent.headers), end_stream=not sent.body)
            whole = self._send_body(stream, sent.body, answer, deadline)
            while not answer.end:
                self._receive(stream, answer, deadline)
            if not whole and answer.end == "whole":
                # The answer came before the end of the body, of which nobody wants the rest.
                self._connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                self._flush()
        except TimeoutError:
            answer.end = "silent"
        except (OSError, h2.exceptions.H2Error) as error:
            answer.end = answer.end or f"closed: {type(error).__name__}"
            self.close()
        if answer.end.startswith(("goaway", "silent")):
            self.close()
        return answer

    def _open(self) -> None:
        self.close()
        self._socket = socket.create_connection(self._address, timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._connection.encoder = _Encoder()
        self._connection.initiate_connection()
        self._streams = 0
        self._flush()

    def _has_ended(self) -> bool:
        """Whether the other side closed the connection, or said that it will, since the last answer."""
        assert self._socket
        while True:
            data = received(self._socket, 0.0)
            if not data:
                return data is None
            events = self._connection.receive_data(data)
            if any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                return True

    def _flush(self) -> None:
        assert self._socket
        self._socket.sendall(self._connection.data_to_send())

    def _send_body(self, stream: int, body: bytes, answer: Answer, deadline: float) -> bool:
        """Returns whether all of it went out before the answer was there."""
        sent = 0
        while sent < len(body) and not answer.end:
            room = self._connection.local_flow_control_window(stream)
            part = body[sent : sent + min(room, self._connection.max_outbound_frame_size)]
            if part:
                sent += len(part)
                self._connection.send_data(stream, part, end_stream=sent == len(body))
                self._flush()
            else:
                self._receive(stream, answer, deadline)
        self._flush()
        return sent == len(body)

    def _receive(self, stream: int, answer: Answer, deadline: float) -> None:
        assert self._socket
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("closed")
        for event in self._connection.receive_data(data):
            self._take(event, stream, answer)
        self._flush()

    def _take(self, event: h2.events.Event, stream: int, answer: Answer) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            answer.end = answer.end or f"goaway {_code(event.error_code)}"
        if getattr(event, "stream_id", None) != stream:
            return
        if isinstance(event, h2.events.ResponseReceived):
            headers: list[Any] = list(event.headers or ())
            answer.status = int(dict(headers)[b":status"])
            answer.headers = [pair for pair in headers if not pair[0].startswith(b":")]
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.TrailersReceived):
            trailers: list[Any] = list(event.headers or ())
            answer.trailers = trailers
        elif isinstance(event, h2.events.StreamEnded):
            answer.end = "whole"
        elif isinstance(event, h2.events.StreamReset):
            answer.end = answer.end or f"reset {_code(event.error_code)}"


def _code(code: h2.errors.ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)


def exchange_h1(address: tuple[str, int], sent: Input, within_s: float) -> Answer:
    """Sends one request over HTTP/1.1, on a connection of its own."""
    method = sent.header(b":method")
    with socket.create_connection(address, timeout=within_s) as connection:
        # The answer to a request that is too large may come before its end.
        with contextlib.suppress(OSError):
            connection.sendall(h1_bytes(sent))
        try:
            return _read_h1(connection.makefile("rb"), method.decode("latin-1"))
        except TimeoutError:
            return Answer("silent")
        except (OSError, http.client.HTTPException) as error:
            return Answer(f"closed: {type(error).__name__}")


def h1_bytes(sent: Input) -> bytes:
    """Returns the request as HTTP/1.1 has it."""
    lines = [sent.header(b":method") + b" " + sent.header(b":path") + b" HTTP/1.1"]
    lines.append(b"Host: " + sent.header(b":authority"))
    lines += [key + b": " + value for key, value in sent.headers if not key.startswith(b":")]
    if sent.body and not sent.header(b"transfer-encoding"):
        lines.append(b"Content-Length: %d" % len(sent.body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + sent.body


def parse_h1(received: bytes) -> list[Answer]:
    """Returns the answers in these bytes; the last may be broken off ("closed")."""
    file = _Bytes(received)
    answers = []
    while file.tell() < len(received):
        try:
            answers.append(_read_h1(file, ""))
        except (OSError, http.client.HTTPException) as error:
            answers.append(Answer(f"closed: {type(error).__name__}"))
            break
    return answers


class _Bytes(io.BytesIO):
    """Stays open, as a connection does, when one answer has been read from it."""

    def close(self) -> None:
        pass


class _Socket:
    """The little of a socket that http.client's parser asks for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, _mode: str) -> Any:
        return self._file


def _read_h1(file: Any, method: str) -> Answer:
    parsed = http.client.HTTPResponse(_Socket(file), method=method)  # type: ignore[arg-type]
    parsed.begin()
    body = parsed.read()
    headers = [
        (key.lower().encode("latin-1"), value.encode("latin-1"))
        for key, value in parsed.getheaders()
    ]
    return Answer("whole", parsed.status, headers, body)


def connect(address: tuple[str, int], data: bytes) -> socket.socket:
    """Returns a connection on which these bytes were sent, as far as the other side took them."""
    connection = socket.create_connection(address, timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return connection


def received(connection: socket.socket, within_s: float) -> bytes | None:
    """Returns what comes within the time: b"" for nothing, None for the end of the connection."""
    connection.settimeout(max(within_s, 0.0))
    try:
        return connection.recv(_CHUNK) or None
    except (TimeoutError, BlockingIOError):
        return b""
    except OSError:
        return None
