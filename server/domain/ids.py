"""IDs: 20 characters, a 3-letter prefix and 85 random bits."""

import os

# What each of the 256 bytes stands for: its last five bits as a digit.
_DIGITS = b"0123456789abcdefghijklmnopqrstuv" * 8

OPERATION = "bop"
CUSTOMER = "bcu"
BILLING_ACCOUNT = "bac"
INVITATION = "inv"
SERVICE_ACCOUNT = "aje"
KEY = "key"
AUDIT = "aud"


def new_id(prefix: str) -> str:
    """Returns `prefix` and 17 random characters of `[0-9a-v]`."""
    return prefix + os.urandom(17).translate(_DIGITS).decode()
