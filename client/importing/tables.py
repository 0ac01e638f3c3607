"""Rows of a spreadsheet: CSV as Excel and others write it, and XLSX."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from client.errors import ClientError
from client.importing import encodings

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_ZIP = b"PK\x03\x04"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
# What is pasted from pages and other programs around a cell, and is not seen.
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"


class Row(NamedTuple):
    """One row: the number of the line that it begins in, its cells, and what is wrong with all of it."""

    line: int
    cells: list[str]
    problem: str = ""


class Table(NamedTuple):
    """A spreadsheet: its form in words (encoding, delimiter or sheet), its header, and its rows, read once."""

    form: str
    header: Row
    rows: Iterator[Row]


def open_table(file: Path, encoding: str | None) -> Table:
    """Opens a CSV or XLSX file; raises ClientError for what is none, or has no row."""
    with file.open("rb") as content:
        start = content.read(8)
    if start.startswith(_OLD_EXCEL):
        raise ClientError(
            f"{file} is of an old Excel, or has a password: save it as .xlsx or CSV without one"
        )
    if start.startswith(_ZIP):
        # When needed: each command begins a tenth sooner.
        from client.importing import xlsx

        sheet, rows = xlsx.read(file)
        cleaned = (Row(number, [_clean(cell) for cell in cells]) for number, cells in rows)
        return _with_header(file, f"XLSX, sheet {sheet!r}", cleaned)
    chosen = encodings.python_name(encoding) if encoding else encodings.detect(file)
    delimiter = _delimiter(file, chosen)
    form = f"{encodings.display_name(chosen)}, fields separated by {_DELIMITERS[delimiter]}"
    return _with_header(file, form, _csv(file, chosen, delimiter))


def letter(column: int) -> str:
    """Returns the letters by which spreadsheets name a column, counted from 0."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _with_header(file: Path, form: str, rows: Iterator[Row]) -> Table:
    header = next((row for row in rows if any(row.cells) or row.problem), None)
    if header is None:
        raise ClientError(f"{file} is empty")
    return Table(form, header, (row for row in rows if any(row.cells) or row.problem))


def _lines(file: Path, encoding: str) -> Iterator[str]:
    number = 0
    try:
        with file.open(encoding=encoding, newline="") as text:
            for number, line in enumerate(text, start=1):
                if number == 1:
                    line = line.removeprefix("\ufeff")
                    # Excel's own note of the delimiter is no row; its line is counted.
                    line = "\n" if _stated_delimiter(line) else line
                yield line
    except UnicodeError:
        raise ClientError(
            f"{file}: line {number + 1} or one soon after it is not {encodings.display_name(encoding)}: say "
            "the right --encoding"
        ) from None


def _stated_delimiter(line: str) -> str:
    stated = line.rstrip("\r\n").strip('"')
    return stated[4:] if stated[:4].lower() == "sep=" and stated[4:] in _DELIMITERS else ""


def _delimiter(file: Path, encoding: str) -> str:
    """Returns the delimiter that divides the header into most columns."""
    with file.open(encoding=encoding, newline="", errors="replace") as text:
        try:
            first = text.readline(1 << 16)
            if stated := _stated_delimiter(first.removeprefix("\ufeff")):
                return stated
            while first and not first.strip():
                first = text.readline(1 << 16)
        except UnicodeError:
            # It is another encoding altogether, which is told when the rows are read.
            return ","
    # The quoted ones divide nothing.
    bare = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _csv(file: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(_lines(file, encoding), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield Row(line, [_clean(cell) for cell in next(reader)])
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, [], f"its quotes can't be read: {error}")


def _clean(cell: str) -> str:
    cell = cell.strip().strip(_INVISIBLE).strip()
    # How Excel is kept from taking digits for a number: ="007".
    if cell.startswith('="') and cell.endswith('"') and len(cell) > 2:
        cell = cell[2:-1].strip()
    return cell.replace("\r\n", "\n").replace("\r", "\n")
