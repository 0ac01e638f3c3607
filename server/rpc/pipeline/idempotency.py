"""The key by which a changing call can be repeated safely."""

import hashlib
import re
from typing import Any

from google.protobuf.message import Message

from server.domain.access import Subject
from server.domain.errors import BillingError, FieldViolation, Reason
from server.storage.interface import IdempotencyKey

HEADER = "idempotency-key"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def idempotency_key(
    headers: dict[str, Any], subject: Subject | None, method: str, request: Message
) -> IdempotencyKey | None:
    """Returns the call's key, by caller, with a fingerprint of method and request.

    Raises IDEMPOTENCY_KEY_INVALID.
    """
    sent = headers.get(HEADER)
    if sent is None:
        return None
    sent = sent.lower()
    if not _UUID.fullmatch(sent):
        raise BillingError(
            Reason.IDEMPOTENCY_KEY_INVALID,
            "The idempotency key is invalid.",
            fields=[
                FieldViolation(
                    "Idempotency-Key",
                    "Must be a UUID, like 6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14.",
                )
            ],
        )
    caller = subject.id if subject else ""
    return IdempotencyKey(
        key=_digest(caller.encode(), sent.encode()),
        fingerprint=_digest(method.encode(), request.SerializeToString(deterministic=True)),
    )


def _digest(scope: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(scope + b"\0" + content, digest_size=16).digest()
