"""How the Python scripts tell what they saw: one JSON line a call. Standard library only."""

import contextlib
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

# The dev.json that the runner wrote: the service's own, and what the runner set up around it.
DEV = json.loads(Path(sys.argv[1]).read_text())


@contextlib.contextmanager
def call(name: str) -> Iterator[None]:
    """Reports a call by how its block ends; what comes after it is tried all the same."""
    note = ""
    try:
        yield
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
    print(json.dumps({"call": name, "ok": not note, "note": note}), flush=True)


def address(who: str = "ostap") -> str:
    """Returns an address of nobody else's; the mail server judges it by how it begins."""
    return f"{who}-{uuid.uuid4().hex}@example.com"
