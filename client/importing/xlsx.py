"""Rows of XLSX files, one at a time: the texts of all cells are kept in a temporary file."""

import re
import sqlite3
import warnings
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import IO

from openpyxl.cell.text import Text
from openpyxl.packaging.manifest import Override
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

from client.errors import ClientError

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    InvalidFileException,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    TypeError,
    AttributeError,
)
# A formula in a sheet, whatever its prefix; most sheets have none, which is seen at once.
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_LONGEST_TAG = 64


class _Texts:
    """The texts that cells name by number; Excel keeps them apart from the cells."""

    def __init__(self, part: IO[bytes]) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT)")
        self._db.executemany("INSERT INTO texts VALUES (?, ?)", enumerate(_texts(part)))

    def __getitem__(self, number: int) -> str:
        found = self._db.execute("SELECT text FROM texts WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise IndexError(number)
        return str(found[0])


def _texts(part: IO[bytes]) -> Iterator[str]:
    root: ET.Element | None = None
    for event, node in ET.iterparse(part, ("start", "end")):  # noqa: S314 - expat bounds entities
        root = node if root is None else root
        if event == "end" and node.tag == f"{{{SHEET_MAIN_NS}}}si":
            # Of openpyxl: runs of letters of different looks are one text.
            text = Text.from_tree(node)
            yield text.content.replace("x005F_", "") if text else ""
            root.clear()


class _Reader(ExcelReader):
    """openpyxl's, which would hold all texts in memory: 70 MB for 100,000 rows."""

    def read_strings(self) -> None:
        part: Override | None = self.package.find(SHARED_STRINGS)  # type: ignore[no-untyped-call]
        if part is not None:
            with self.archive.open(part.PartName[1:]) as content:
                self.shared_strings = _Texts(content)  # type: ignore[assignment]  # read by number alone


def read(file: Path) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """Returns the name of the first sheet that is shown, and its rows with their numbers."""
    with warnings.catch_warnings():
        # On styles and extensions, which don't matter here.
        warnings.simplefilter("ignore")
        try:
            reader = _Reader(file, read_only=True, data_only=True, keep_links=False)
            reader.read()
        except _DAMAGED:
            raise ClientError(f"{file} is no XLSX file: save it as .xlsx or CSV") from None
    sheet = next((each for each in reader.wb.worksheets if each.sheet_state == "visible"), None)
    if sheet is None:
        raise ClientError(f"{file} has no sheet that is shown")
    part = next(rel.target for each, rel in reader.parser.find_sheets() if each.name == sheet.title)
    with _damage_told(file), reader.archive.open(part) as content:
        has_formulas = any(_FORMULA.search(chunk) for chunk in _overlapping(content))
    if has_formulas:
        with _damage_told(file), reader.archive.open(part) as content:
            cell = next(_uncalculated(content), None)
        if cell is not None:
            raise ClientError(
                f"{file}: cell {cell} has a formula, but its value is not in the file: open it in Excel "
                "or another program that calculates, and save it"
            )
    # Other programs than Excel write sizes there that are wrong.
    sheet.reset_dimensions()

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            with _damage_told(file):
                for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                    yield number, [_text(cell) for cell in cells]
        finally:
            reader.wb.close()

    return str(sheet.title), rows()


@contextmanager
def _damage_told(file: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED:
        raise ClientError(f"{file} is damaged: save it anew as .xlsx or CSV") from None


def _overlapping(content: IO[bytes]) -> Iterator[bytes]:
    """Gives a part in pieces that overlap, so that no short word is divided."""
    before = b""
    while piece := content.read(1 << 16):
        yield before + piece
        before = piece[-_LONGEST_TAG:]


def _uncalculated(sheet: IO[bytes]) -> Iterator[str]:
    """Gives the cells that have a formula and no value, as what only writes files leaves them."""
    rows: ET.Element | None = None
    for event, node in ET.iterparse(sheet, ("start", "end")):  # noqa: S314 - expat bounds entities
        if node.tag == f"{{{SHEET_MAIN_NS}}}sheetData":
            rows = node
        elif event == "end" and node.tag == f"{{{SHEET_MAIN_NS}}}c":
            if len(node) == 1 and node.find(f"{{{SHEET_MAIN_NS}}}f") is not None:
                yield node.get("r", "of a row without numbers")
        elif event == "end" and node.tag == f"{{{SHEET_MAIN_NS}}}row" and rows is not None:
            rows.clear()


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, (date, datetime, time)):
        return cell.isoformat()
    return str(cell)
