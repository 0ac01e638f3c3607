"""What is set, caught and kept out of the logs of gRPC's core, the C library below grpcio."""

import logging

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no public name

# The core's name for a call that is over: its caller has gone.
CALL_IS_OVER = cygrpc.ExecuteBatchError

# Up to so many times the limit a message is refused by `message_reader`, with details. Past that the
# core breaks the call off in words of its own. The gateway lets through no more than the limit.
_OVERSIZE = 16
# Bytes of headers that the gateway may add to a request; names of wrong fields are the most.
_GATEWAYS_HEADERS = 10 << 10
# Clients that ping more often than this are cut off; theirs take 10 s at least.
_LEAST_PING_INTERVAL_MS = 1_000
_HANDSHAKE_MS = 5_000
_LONGEST_IDLE_MS = 60_000


def options(max_message_bytes: int, max_metadata_bytes: int) -> tuple[tuple[str, int], ...]:
    """Returns the core's settings for messages and headers of at most so many bytes."""
    # The gateway refuses larger headers, and adds some of its own to what it lets through.
    metadata_bytes = max_metadata_bytes + _GATEWAYS_HEADERS
    return (
        # The core would unpack without a bound.
        ("grpc.per_message_decompression", 0),
        ("grpc.max_receive_message_length", max_message_bytes * _OVERSIZE),
        # A client that waits for an operation may ask as often as clients do whether the server lives.
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A connection that says nothing, or has nothing more to say, is closed soon.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _LONGEST_IDLE_MS),
        ("grpc.max_metadata_size", metadata_bytes),
        ("grpc.absolute_max_metadata_size", metadata_bytes),
        ("grpc.so_reuseport", 0),
    )


def filter_logs() -> None:
    """Keeps out of the logs header values that are not UTF-8, and each call whose caller has gone.

    Such a value may be a token or a name.
    """
    for name in ("grpc._cython.cygrpc", "asyncio"):
        logging.getLogger(name).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, CALL_IS_OVER) or str(record.msg).startswith("Invalid encoding"))
