"""Tables in a terminal: what people look for, as long as there is room for it."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# Words are shortened to this, not further, IDs and times not at all: they are copied. Columns that
# have no room then are left out, the last first.
_MIN_WIDTH = 16
_GAP = 2
_NAME = re.compile(r"(?:resellers/[^/]+/[a-zA-Z]+|operations)/([^/]+)")
_ID = re.compile(r"[a-z]{3}[0-9a-v]{17}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


class _Column:
    """A column of one page of rows."""

    def __init__(self, title: str, values: Sequence[str]) -> None:
        self.title = title
        self.cells = [printable(for_people(value)) for value in values]
        is_exact = any(form.fullmatch(each) for form in (_NAME, _ID, _TIME) for each in values)
        self.width = max(map(cell_len, (title, *self.cells)))
        self.min_width = self.width if is_exact else min(self.width, _MIN_WIDTH)


class Table:
    """One table, printed page by page."""

    def __init__(self, console: Console, titles: Sequence[str]) -> None:
        self._console = console
        self._titles = list(titles)
        # The titles of columns that there is room for; the first page tells.
        self._kept: list[str] = []

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Prints more rows."""
        if not rows:
            return
        columns = [
            _Column(title, values)
            for title, values in zip(self._titles, zip(*rows, strict=True), strict=True)
        ]
        columns[0].min_width = columns[0].width
        is_first = not self._kept
        if is_first:
            self._kept = [each.title for each in self._with_room(columns)]
        columns = [each for each in columns if each.title in self._kept]
        while self._excess(each.width for each in columns) > 0:
            widest = max(columns, key=lambda each: (each.width > each.min_width, each.width))
            if widest.width == widest.min_width:
                break
            widest.width -= 1
        if is_first:
            self._line([(each.title, each.width) for each in columns], "bold")
        for at in range(len(rows)):
            self._line([(each.cells[at], each.width) for each in columns])

    def end(self) -> None:
        """Says what was not shown."""
        left = [title for title in self._titles if title not in self._kept]
        if not self._kept:
            self._console.print("nothing found")
        elif left:
            click.echo(f"no room for {', '.join(left)}: see --output csv", err=True)

    def _with_room(self, columns: Sequence[_Column]) -> list[_Column]:
        kept = list(columns)
        while len(kept) > 1 and self._excess(each.min_width for each in kept) > 0:
            kept.pop()
        return kept

    def _excess(self, widths: Iterable[int]) -> int:
        """Returns how much wider these columns are than the terminal."""
        return sum(width + _GAP for width in widths) - _GAP - self._console.width

    def _line(self, cells: Sequence[tuple[str, int]], style: str = "") -> None:
        # As Text, in which square brackets are no marks of rich's.
        line = Text(" " * _GAP).join(_fitted(text, width) for text, width in cells)
        line.rstrip()
        line.stylize(style)
        self._console.print(line, soft_wrap=True)


def _fitted(text: str, width: int) -> Text:
    fitted = Text(text)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def for_people(value: str) -> str:
    """Returns a resource's name as its ID, which commands take, and a time by this machine's clock."""
    if name := _NAME.fullmatch(value):
        return name[1]
    if _TIME.fullmatch(value):
        return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}"
    return value


def printable(text: str) -> str:
    """Returns a text without what a terminal would obey."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
