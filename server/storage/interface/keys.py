"""Idempotency keys."""

from typing import NamedTuple


class IdempotencyKey(NamedTuple):
    """A caller's promise that two requests are one.

    `key` is a digest of the caller and the UUID it sent, `fingerprint` one of method and request.
    """

    key: bytes
    fingerprint: bytes
