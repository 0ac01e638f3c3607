"""The file that says what became of each row; whole at every moment, also after kill -9."""

import contextlib
import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from client.errors import ClientError

INVITED, SENT, EXISTS, FAILED, CANCELLED = "INVITED", "SENT", "EXISTS", "FAILED", "CANCELLED"
REFUSED, INVALID = "REFUSED", "INVALID"
# Nothing more is to be done for a row that has one of these.
DONE = (INVITED, SENT, EXISTS, CANCELLED)


class Result(NamedTuple):
    """What is known of a row. `key` finds it again wherever it stands in the file."""

    row: int | None
    external_id: str
    customer: str
    operation: str
    state: str
    error: str
    key: str


class Results:
    """The result file of one import.

    Lines are added by one write each, and what a kill left of a line is no line: it is passed over
    when the file is read, and gone when it is written anew, which is done aside.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._out: int | None = None

    def read(self) -> Iterator[Result]:
        """Yields what the file says, if it is there."""
        try:
            text = self.file.open(encoding="utf-8", newline="")
        except FileNotFoundError:
            return
        with text:
            reader = csv.reader(line for line in text if line.endswith("\n"))
            try:
                header = next(reader, None)
                if header is not None and header != list(Result._fields):
                    raise ClientError(f"{self.file} is of something else: move it away")
                for row, *more in reader:
                    yield Result(int(row) if row else None, *more)
            except (UnicodeDecodeError, csv.Error, ValueError, TypeError):
                raise ClientError(
                    f"{self.file} was changed: put it back as it was, or move it away"
                ) from None

    def replace(self, results: Iterable[Result]) -> None:
        """Writes the file anew; what comes is added to it. Raises ClientError where another import does."""
        aside = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        out = None
        try:
            out = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o666)
            # Held as long as this import runs.
            fcntl.flock(out, fcntl.LOCK_EX)
            with open(out, "w", encoding="utf-8", newline="", closefd=False) as text:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(Result._fields)
                writer.writerows(results)
            os.fsync(out)
            self._require_ours()
            aside.replace(self.file)
            self.close()
            self._out, out = out, None
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            if out is not None:
                os.close(out)

    def _require_ours(self) -> None:
        """Raises ClientError if another import writes the file that is there.

        The lock of the spreadsheet does not keep it away where that was saved anew meanwhile: most
        programs make a new file of the same name.
        """
        try:
            there = os.open(self.file, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            if self._out is None or not os.path.sameopenfile(there, self._out):
                fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientError(
                f"{self.file} is being written by another import: wait for that to end"
            ) from None
        finally:
            os.close(there)

    def add(self, result: Result) -> None:
        """Adds a line."""
        assert self._out is not None, "replace comes first"  # noqa: S101
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(result)
        line = text.getvalue().encode()
        before = os.fstat(self._out).st_size
        try:
            written = os.write(self._out, line)
            if written < len(line):
                os.write(self._out, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._out, before)
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Closes the file."""
        if self._out is not None:
            os.close(self._out)
            self._out = None

    def _unwritable(self, error: OSError) -> ClientError:
        return ClientError(
            f"{self.file} can't be written ({error.strerror}): mend that and run the same command "
            "again; nobody is invited twice"
        )
