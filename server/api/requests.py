"""How a request's bytes arrive: what is missing, cut short, compressed or too large is the caller's doing.

grpc.aio's own handlers never answer a call that ends before its message is whole, and the core
unpacks compressed messages without a bound: one megabyte of gzip can be a gigabyte of zeros. So
methods are served as if they took streams, the core's unpacking is off (`OPTIONS`), and the one
message is read here.
"""

import logging
import zlib
from typing import Any

import grpc

from server.domain.errors import BillingError, Reason

OPTIONS = (("grpc.per_message_decompression", 0),)

# The core tells neither that a message came compressed nor how: the first byte does. No protobuf
# begins with gzip's; zlib's could be a field of number 15, so what does not unpack is left as it is.
_GZIP, _ZLIB = 0x1F, 0x78
_EITHER = 32 + zlib.MAX_WBITS


def keep_metadata_from_the_log() -> None:
    """Has the core no longer log each header value that is not UTF-8: it may be a token or a name."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_holds_no_metadata)


def _holds_no_metadata(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding")


async def receive(context: grpc.aio.ServicerContext[Any, Any], most: int) -> bytes:
    """Returns the call's one message of at most `most` bytes.

    Raises REQUEST_MALFORMED where there is none or it is not whole, REQUEST_TOO_LARGE.
    """
    raw = await context.read()
    if not isinstance(raw, bytes):
        raise BillingError(
            Reason.REQUEST_MALFORMED, "The call ended before its message was whole; send it again."
        )
    return unpacked(raw, most)


def unpacked(raw: bytes, most: int) -> bytes:
    """Returns a message without its compression, if any; raises REQUEST_TOO_LARGE."""
    if len(raw) > most:
        raise _too_large(most)
    if not raw or raw[0] not in (_GZIP, _ZLIB):
        return raw
    packed = zlib.decompressobj(_EITHER)
    try:
        plain = packed.decompress(raw, most + 1)
    except zlib.error:
        return raw
    if len(plain) > most:
        raise _too_large(most)
    return plain if packed.eof and not packed.unused_data else raw


def _too_large(most: int) -> BillingError:
    return BillingError(
        Reason.REQUEST_TOO_LARGE,
        f"The message is larger than {most} bytes; send less at a time.",
        metadata={"maxBytes": str(most)},
    )
