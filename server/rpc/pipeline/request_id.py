"""The ID of a request, which answers, errors and log lines bear."""

import itertools
import re
import uuid
from typing import Any

_VALID = re.compile(r"[\x21-\x7e]{1,128}")
# Of UUIDs of version 4: what those of this process have alike, and what tells them apart.
_OURS = str(uuid.uuid4())[:24]
_next = itertools.count(uuid.uuid4().int & (1 << 47) - 1).__next__


def request_id_of(headers: dict[str, Any]) -> str:
    """Returns the caller's own ID of the request where it is valid, else a new one."""
    sent = headers.get("x-request-id") or headers.get("x-client-request-id")
    if isinstance(sent, str) and _VALID.fullmatch(sent):
        return sent
    # It is no secret, so counting will do.
    return f"{_OURS}{_next():012x}"
