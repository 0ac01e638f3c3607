"""Messages of a stream as bytes: for gRPC, and for others as lines of JSON, as server-sent events or as
frames of Connect in JSON.

Those for others are google.api.HttpBody, which the gateway passes on as they are.
"""

import json
import struct
from abc import ABC, abstractmethod
from base64 import b64encode
from typing import Any

from billing.v1 import event_pb2, event_service_pb2
from google.api.httpbody_pb2 import HttpBody
from google.rpc import code_pb2, status_pb2

from server.domain.events import Event
from server.rpc.messages.events import message_json, to_event

# HTTP's statuses of the codes, as the gateway gives them to errors before a stream has begun.
_HTTP_STATUSES = (
    *(200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401),
)
# How soon a browser that has lost the stream opens it again.
_RECONNECT_MS = 1000
# Flags of Connect's frames.
_MESSAGE, _END_OF_STREAM = 0, 2


class Encoding(ABC):
    """Makes messages. All of a kind make the same, so what one has made serves all streams."""

    # Whether a last message tells of an error; a status does where none can.
    tells_errors = True

    @abstractmethod
    def event(self, event: Event, message: event_pb2.Event) -> bytes:
        """Returns the message of an event, which is given as a record and as a message."""

    @abstractmethod
    def position(self, id_: str) -> bytes:
        """Returns a message that says where the stream is, and nothing else."""

    def opening(self, id_: str) -> bytes:
        """Returns the first message."""
        return self.position(id_)

    def error(self, status: status_pb2.Status) -> bytes | None:
        """Returns the last message of a stream that ends so; None where its status alone says it."""
        del status
        return None


class GrpcEncoding(Encoding):
    """billing.v1.WatchEventsResponse."""

    tells_errors = False

    def event(self, event: Event, message: event_pb2.Event) -> bytes:
        return _response(event, message).SerializeToString()

    def position(self, id_: str) -> bytes:
        return event_service_pb2.WatchEventsResponse(position=id_).SerializeToString()


class LinesEncoding(Encoding):
    """The same in JSON, one a line."""

    def event(self, event: Event, message: event_pb2.Event) -> bytes:
        return self._line(message_json(_response(event, message)))

    def position(self, id_: str) -> bytes:
        return self._line({"position": id_})

    def error(self, status: status_pb2.Status) -> bytes:
        return self._line(_in_envelope(status))

    @staticmethod
    def _line(values: dict[str, Any]) -> bytes:
        return _body("application/x-ndjson", f"{_json(values)}\n".encode())


class ServerSentEncoding(Encoding):
    """Server-sent events, whose `id` a browser sends when it opens the stream again.

    Positions are events of another type, which `onmessage` of an EventSource does not get.
    """

    def event(self, event: Event, message: event_pb2.Event) -> bytes:
        text = _json(message_json(_response(event, message)))
        return self._sent(f"id: {event.id}\ndata: {text}\n\n")

    def position(self, id_: str) -> bytes:
        return self._sent(self._position(id_))

    def opening(self, id_: str) -> bytes:
        return self._sent(f"retry: {_RECONNECT_MS}\n{self._position(id_)}")

    def error(self, status: status_pb2.Status) -> bytes:
        return self._sent(f"event: error\ndata: {_json(_in_envelope(status))}\n\n")

    @staticmethod
    def _position(id_: str) -> str:
        return f"event: position\nid: {id_}\ndata: {_json({'position': id_})}\n\n"

    @staticmethod
    def _sent(text: str) -> bytes:
        return _body("text/event-stream", text.encode())


class ConnectEncoding(Encoding):
    """Frames of Connect in JSON (https://connectrpc.com/docs/protocol); the last one has the error."""

    def event(self, event: Event, message: event_pb2.Event) -> bytes:
        return self._frame(_MESSAGE, message_json(_response(event, message)))

    def position(self, id_: str) -> bytes:
        return self._frame(_MESSAGE, {"position": id_})

    def error(self, status: status_pb2.Status) -> bytes:
        details = [
            {
                "type": detail.type_url.rpartition("/")[2],
                "value": b64encode(detail.value).decode().rstrip("="),
            }
            for detail in status.details
        ]
        name = code_pb2.Code.Name(status.code).lower().replace("cancelled", "canceled")
        error = {"code": name, "message": status.message, "details": details}
        return self._frame(_END_OF_STREAM, {"error": error})

    @staticmethod
    def _frame(flag: int, values: dict[str, Any]) -> bytes:
        text = _json(values).encode()
        return _body("application/connect+json", struct.pack(">BI", flag, len(text)) + text)


GRPC = GrpcEncoding()
LINES = LinesEncoding()
# By the content type that the gateway asks for.
ENCODINGS = {
    "application/x-ndjson": LINES,
    "text/event-stream": ServerSentEncoding(),
    "application/connect+json": ConnectEncoding(),
}


class Encoded:
    """An event of the log, made a message and encoded once for all streams that send it."""

    __slots__ = ("_encodings", "_message", "event", "size")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._message = to_event(event)
        self._encodings: dict[Encoding, bytes] = {}
        # About how many bytes of memory it takes, as all encodings.
        self.size = 11 * self._message.ByteSize() + 2000

    def by(self, encoding: Encoding) -> bytes:
        """Returns its message."""
        found = self._encodings.get(encoding)
        if found is None:
            found = self._encodings[encoding] = encoding.event(self.event, self._message)
        return found


def _response(event: Event, message: event_pb2.Event) -> event_service_pb2.WatchEventsResponse:
    return event_service_pb2.WatchEventsResponse(event=message, position=event.id)


def _in_envelope(status: status_pb2.Status) -> dict[str, Any]:
    """Returns an error as all others under /v1/ are: in Google's envelope (AIP-193)."""
    values = message_json(status)
    error = {
        "code": _HTTP_STATUSES[status.code],
        "message": values["message"],
        "status": code_pb2.Code.Name(status.code),
        "details": values["details"],
    }
    return {"error": error}


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _body(content_type: str, data: bytes) -> bytes:
    made: bytes = HttpBody(content_type=content_type, data=data).SerializeToString()
    return made
