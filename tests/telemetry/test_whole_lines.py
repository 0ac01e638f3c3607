"""A line that finds no room spoils no other."""

import fcntl
import io
import os

import pytest

from server.telemetry.whole_lines import WholeLines, whole_lines


def test_what_was_written_in_part_is_a_line_of_its_own() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    lines = WholeLines(writing)
    lines.write("first\n")
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            lines.write("x" * 2 * room + "\n")
    torn = os.read(reading, 2 * room)
    lines.write("next\n")
    lines.write("last \udcff\n")
    assert not torn.endswith(b"\n")
    found = (torn + os.read(reading, room)).splitlines()
    assert (found[0], found[-2:]) == (b"first", [b"next", rb"last \udcff"])
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_stream_without_a_file_takes_them_itself() -> None:
    stream = io.StringIO()
    assert whole_lines(stream) is stream
