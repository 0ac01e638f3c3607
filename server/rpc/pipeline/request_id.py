"""The ID of a request, which answers, errors and log lines bear."""

import re
from typing import Any

from server.domain.ids import random_bytes

_VALID = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(headers: dict[str, Any]) -> str:
    """Returns the caller's own ID of the request where it is valid, else a new one."""
    sent = headers.get("x-request-id") or headers.get("x-client-request-id")
    if isinstance(sent, str) and _VALID.fullmatch(sent):
        return sent
    # A UUID of version 4; the standard library takes three times as long to make one.
    digits = random_bytes().hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
