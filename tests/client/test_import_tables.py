"""Spreadsheets as Excel itself writes them, of any length."""

import tracemalloc
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import openpyxl
import pytest

from client.errors import ClientError
from client.importing.tables import Row, open_table

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"


def write_as_excel(file: Path, content: list[list[str]]) -> None:
    """Writes an XLSX file whose texts are kept apart from the cells, as Excel does."""
    openpyxl.Workbook().save(file)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    override = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}"/></Types>'
    relation = (
        f'<Relationship Id="rId99" Type="{_RELATION}" Target="sharedStrings.xml"/></Relationships>'
    )
    types, relations = "[Content_Types].xml", "xl/_rels/workbook.xml.rels"
    if "sharedStrings" not in parts[types]:
        parts[types] = parts[types].replace("</Types>", override)
        parts[relations] = parts[relations].replace("</Relationships>", relation)
    texts = [cell for row in content for cell in row]
    parts["xl/sharedStrings.xml"] = (
        f'<sst xmlns="{_MAIN}">'
        + "".join(f"<si><r><t>{escape(text)}</t></r></si>" for text in texts)
        + "</sst>"
    )
    numbers = iter(range(len(texts)))
    parts["xl/worksheets/sheet1.xml"] = (
        f'<worksheet xmlns="{_MAIN}"><dimension ref="A1"/><sheetData>'
        + "".join(
            "<row>" + "".join(f'<c t="s"><v>{next(numbers)}</v></c>' for _ in row) + "</row>"
            for row in content
        )
        + "</sheetData></worksheet>"
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def customers(count: int) -> list[list[str]]:
    return [["name", "email"], *([f"ООО «Рога» {n}", f"u{n}@example.com"] for n in range(count))]


def test_texts_apart_from_their_cells(tmp_path: Path) -> None:
    file = tmp_path / "customers.xlsx"
    write_as_excel(file, customers(3))
    table = open_table(file, None)
    assert table.header == Row(1, ["name", "email"])
    assert list(table.rows) == [Row(n, row) for n, row in enumerate(customers(3)[1:], start=2)]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str) -> None:
    peaks = []
    for count in (1_000, 8_000):
        file = tmp_path / f"{count}.{kind}"
        if kind == "csv":
            file.write_text("\n".join(",".join(row) for row in customers(count)))
        else:
            write_as_excel(file, customers(count))
        open_table(file, None)  # what is imported then is not counted
        tracemalloc.start()
        assert sum(1 for _ in open_table(file, None).rows) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 7,000 rows hold 2 MB of texts and more.
    assert peaks[1] - peaks[0] < 1_000_000, peaks


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("<c r='B2' t='str'><f>A2</f><v>x@example.com</v></c>", "x@example.com"),
        # A formula that gives an empty text.
        ("<c r='B2' t='str'><f>A2</f><v></v></c>", ""),
        ("<c r='B2'><f>A2</f></c>", None),
        ("<c r='B2'><f t='shared' si='0'/></c>", None),
    ],
)
def test_a_formula_without_its_value_is_not_taken_for_empty(
    tmp_path: Path, cell: str, found: str | None
) -> None:
    file = tmp_path / "customers.xlsx"
    write_as_excel(file, [["name", "email"]])
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    row = f"<row r='2'><c r='A2' t='inlineStr'><is><t>A</t></is></c>{cell}</row></sheetData>"
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace("</sheetData>", row)
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    if found is None:
        with pytest.raises(ClientError, match="cell B2 has a formula, but its value"):
            open_table(file, None)
    else:
        assert [each.cells for each in open_table(file, None).rows] == [["A", found]]
