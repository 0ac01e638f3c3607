"""Spreadsheets as people's programs write them, and what an import left of them."""

import codecs
import csv
import uuid
from collections.abc import Sequence
from pathlib import Path

import openpyxl

from tests.client.conftest import Run

HEADER = ("Name", "invitation email", "PERSON.TIN", "External_ID", "labels.tier")


def rows(count: int, *, external_ids: bool = True) -> list[list[str]]:
    """Returns customers that nobody has invited yet."""
    mark = uuid.uuid4().hex
    return [
        [
            f'ООО "Рога, и копыта"; {at}\nотдел №2',
            f"ostap-{at}-{mark}@example.com",
            f"77070838{at:02}",
            f"K-{at}-{mark}" if external_ids else "",
            "gold",
        ]
        for at in range(count)
    ]


def write_csv(
    file: Path,
    content: Sequence[Sequence[str]],
    *,
    header: Sequence[str] = HEADER,
    encoding: str = "utf-8",
    delimiter: str = ",",
    before: str = "",
) -> None:
    """Writes rows as Excel does: quotes where they are needed, lines ended by CR and LF."""
    with file.open("w", encoding=encoding, newline="") as text:
        text.write(before)
        writer = csv.writer(text, dialect="excel", delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(content)


def write_xlsx(file: Path, content: Sequence[Sequence[object]]) -> None:
    """Writes rows as Excel does, numbers as numbers."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet
    sheet.append(HEADER)
    for row in content:
        sheet.append(list(row))
    book.save(file)


def results(file: Path) -> list[dict[str, str]]:
    """Returns what the result file says; it must be whole."""
    text = file.with_name(f"{file.name}.results.csv").read_bytes()
    assert text.endswith(b"\n") and not text.startswith(codecs.BOM_UTF8)
    found = list(csv.DictReader(text.decode().splitlines()))
    assert all(None not in each and None not in each.values() for each in found)
    return found


def invited(dev: Run, content: Sequence[Sequence[str]]) -> list[str]:
    """Returns the addresses of these rows that there are customers of: twice is seen."""
    wanted = {row[1] for row in content if row[1]}
    listed = dev("customers", "list", "-o", "json")
    assert listed.code == 0, listed.err
    return sorted(each["email"] for each in listed.json if each["email"] in wanted)
