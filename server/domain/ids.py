"""IDs: 20 characters, a 3-letter prefix and 85 random bits."""

import secrets

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]

OPERATION = "bop"
CUSTOMER = "bcu"
BILLING_ACCOUNT = "bac"
INVITATION = "inv"
SERVICE_ACCOUNT = "aje"
KEY = "key"
AUDIT = "aud"


def new_id(prefix: str) -> str:
    """Returns `prefix` and 17 random characters of `[0-9a-v]`."""
    bits = secrets.randbits(85)
    pairs = "".join([_PAIRS[bits >> shift & 1023] for shift in range(0, 80, 10)])
    return prefix + pairs + _DIGITS[bits >> 80]
