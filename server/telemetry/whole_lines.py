"""Where log lines are written: a line that finds no room does not become the beginning of the next."""

import os
from typing import Protocol, TextIO


class Output(Protocol):
    """What takes lines."""

    def write(self, text: str, /) -> object:
        """Takes whole lines; raises OSError."""
        ...

    def flush(self) -> object:
        """Returns once they are written; raises OSError."""
        ...


class WholeLines:
    """Writes to a file at once. After what was written in part, as on a disk that was full for a
    while, the next line begins anew."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_torn = False

    def write(self, text: str, /) -> None:
        content = text.encode(errors="backslashreplace")
        if self._is_torn:
            content = b"\n" + content
        done = 0
        try:
            while done < len(content):
                done += os.write(self._descriptor, content[done:])
        except OSError:
            self._is_torn = not content[:done].endswith(b"\n") if done else self._is_torn
            raise
        self._is_torn = False

    def flush(self) -> None:
        """Nothing waits to be written."""


def whole_lines(stream: TextIO) -> Output:
    """Returns what writes to the stream's file; the stream itself where it has none."""
    try:
        return WholeLines(stream.fileno())
    except (OSError, ValueError):
        return stream
