"""Times as protobuf has them."""

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at: datetime) -> timestamp_pb2.Timestamp:
    """Returns an aware time as a protobuf Timestamp."""
    message = timestamp_pb2.Timestamp()
    set_timestamp(message, at)
    return message


def set_timestamp(message: timestamp_pb2.Timestamp, at: datetime) -> None:
    """Sets a Timestamp where it stands: one made apart and handed over would be copied."""
    since = at - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1000
