"""Times as protobuf has them."""

from datetime import datetime

from google.protobuf import timestamp_pb2


def timestamp(at: datetime) -> timestamp_pb2.Timestamp:
    """Returns an aware time as a protobuf Timestamp."""
    message = timestamp_pb2.Timestamp()
    set_timestamp(message, at)
    return message


def set_timestamp(message: timestamp_pb2.Timestamp, at: datetime) -> None:
    """Sets a Timestamp where it stands: one made apart and handed over would be copied."""
    message.seconds = int(at.timestamp())
    message.nanos = at.microsecond * 1000
