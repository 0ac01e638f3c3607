"""The ID of a request, which answers, errors and log lines bear."""

import re
import uuid
from typing import Any

from server.domain.ids import random_bytes

_VALID = re.compile(r"[\x21-\x7e]{1,128}")
# What UUIDs of version 4 of this process begin with; 60 random bits follow.
_OURS = str(uuid.uuid4())[:20]


def request_id_of(headers: dict[str, Any]) -> str:
    """Returns the caller's own ID of the request where it is valid, else a new one."""
    sent = headers.get("x-request-id") or headers.get("x-client-request-id")
    if isinstance(sent, str) and _VALID.fullmatch(sent):
        return sent
    # Not counted on: a caller would learn how many calls others make.
    digits = random_bytes().hex()
    return f"{_OURS}{digits[:3]}-{digits[3:15]}"
