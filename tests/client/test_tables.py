"""Lists in a terminal: IDs that can be copied, and no more columns than there is room for."""

import io

import pytest
from rich.console import Console

from client.tables import Table

TITLES = ["CUSTOMER", "NAME", "STATE", "E-MAIL", "ACCOUNT", "CREATED"]
ROWS = [
    [
        "resellers/bacf9ko6trckmmmd4t3e/customers/bcud702u7no5po640qq3",
        "[b]AC/DC[/b] and sons, of a long name",
        "ACCEPTANCE_REQUIRED",
        "ostap@example.com",
        "bacd702u7no5po640qq3",
        "2026-11-27T11:56:29.654636Z",
    ],
    ["resellers/bacf9ko6trckmmmd4t3e/customers/bcu7a38rc6jqg4tt291u", "名" * 20, "", "", "", ""],
]


def shown(width: int, rows: list[list[str]]) -> list[str]:
    out = io.StringIO()
    table = Table(Console(file=out, width=width), TITLES)
    table.rows(rows)
    table.end()
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "titles"), [(10, 1), (39, 2), (40, 2), (80, 4), (120, 6), (300, 6)]
)
def test_the_columns_that_there_is_room_for(
    width: int, titles: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(width, ROWS)
    assert lines[0].split() == TITLES[:titles]
    assert lines[1].startswith("bcud702u7no5po640qq3")
    assert lines[2].startswith("bcu7a38rc6jqg4tt291u")
    left = capsys.readouterr().err
    assert left == (
        f"no room for {', '.join(TITLES[titles:])}: see --output csv\n" if titles < 6 else ""
    )
    if titles > 1:
        # Letters of the Far East take two cells.
        assert all(len(line) + line.count("名") <= width for line in lines)
        assert "[b]AC/DC[/b]" in lines[1]
    if titles == 6:
        assert "bacd702u7no5po640qq3  2026-11-27 " in lines[1]


def test_an_empty_table_says_that_nothing_was_found() -> None:
    assert shown(80, []) == ["nothing found"]
