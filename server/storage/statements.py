"""Statements: written in SQLAlchemy Core, compiled once, run by the driver itself."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, cast

from sqlalchemy import BindParameter, Dialect, Table, bindparam, insert
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

# The list parameter of a statement.
IDS: BindParameter[Any] = bindparam("ids", expanding=True)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of a parameter in a compiled text; `index` counts within the list parameter."""

    name: str
    index: int


class Statement:
    """A Core statement with named parameters, of which at most one, `ids`, is a list.

    Lists are padded to the next power of two by repeating the last item, so that few texts serve
    all lengths.
    """

    def __init__(self, clause: ClauseElement, *names: str) -> None:
        self._clause = clause
        self._names = names
        # The texts by dialect and length of the list, each with the places of its parameters;
        # None where those are the list and nothing else.
        self._texts: dict[tuple[str, int], tuple[str, list[Any] | None]] = {}

    def bind(
        self, dialect: Dialect, ids: Sequence[Any], values: dict[str, Any]
    ) -> tuple[str, list[Any]]:
        """Returns the text for the driver and its positional parameters."""
        size = 1 << (len(ids) - 1).bit_length() if ids else 0
        found = self._texts.get((dialect.name, size))
        if found is None:
            found = self._texts[dialect.name, size] = self._compile(dialect, size)
        text, places = found
        if places is None:
            return text, [*ids, *repeat(ids[-1], size - len(ids))]
        last = len(ids) - 1
        return text, [
            place
            if not isinstance(place, _Slot)
            else ids[min(place.index, last)]
            if place.name == "ids"
            else values[place.name]
            for place in places
        ]

    def _compile(self, dialect: Dialect, size: int) -> tuple[str, list[Any] | None]:
        slots: dict[str, Any] = {name: _Slot(name, 0) for name in self._names}
        if size:
            slots["ids"] = [_Slot("ids", index) for index in range(size)]
        compiled = cast("SQLCompiler", self._clause.compile(dialect=dialect))
        expanded = compiled.construct_expanded_state(slots)
        places = list(expanded.positional_parameters)
        return expanded.statement, None if size and places == slots["ids"] else places


class Insert:
    """Inserts rows, given as tuples in the order of the table's columns.

    Columns that are left out take their defaults. Truth values are given as 0 and 1: the driver of
    SQLite takes four times as long over True, None and members of an enumeration as over numbers.
    """

    def __init__(self, table: Table, left_out: Collection[str] = ()) -> None:
        self._table = table
        self._columns = [column for column in table.columns if column.name not in left_out]
        self._texts: dict[str, str] = {}

    def text(self, dialect: Dialect) -> str:
        """Returns the text for the driver: INSERT of one row, or on PostgreSQL COPY of any number.

        COPY takes half the time of as many INSERTs, here as well as there.
        """
        text = self._texts.get(dialect.name)
        if text is None:
            if dialect.name == "postgresql":
                quoted = dialect.identifier_preparer
                columns = ", ".join(map(quoted.format_column, self._columns))
                text = f"COPY {quoted.format_table(self._table)} ({columns}) FROM STDIN"
            else:
                names = [column.name for column in self._columns]
                text = str(insert(self._table).compile(dialect=dialect, column_keys=names))
            self._texts[dialect.name] = text
        return text


class Addition:
    """Adds to the number in the last column of rows that are named by all others.

    A row that is not there begins with 0.
    """

    def __init__(self, table: Table) -> None:
        *keys, number = (column.name for column in table.columns)
        self._text = (  # of names that the schema gives
            f"INSERT INTO {table.name} ({', '.join(keys)}, {number}) VALUES ({{places}}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(keys)}) "
            f"DO UPDATE SET {number} = {table.name}.{number} + excluded.{number}"
        )
        self._width = len(keys) + 1

    def text(self, dialect: Dialect) -> str:
        """Returns the text for the driver."""
        place = "%s" if dialect.name == "postgresql" else "?"
        return self._text.format(places=", ".join([place] * self._width))


class Transaction:
    """One transaction on a connection of the driver, and what to tell the waiting when it commits.

    `ended` holds IDs of operations that end with it, and `signals.ACCESS` if it changes who may do
    what; `work` tells that there may be new work. `before_commit` is done right before the commit;
    after it `checks`, which may raise, where what they look at may have changed since it was read.
    """

    __slots__ = ("_additions", "_cursor", "_dialect", "before_commit", "checks", "ended", "work")

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self.ended: list[str] = []
        self.work = False
        self.before_commit: list[Callable[[], None]] = []
        self.checks: list[Callable[[], None]] = []
        self._additions: dict[Addition, dict[tuple[Any, ...], int]] = {}

    def add(self, addition: Addition, row: tuple[Any, ...], number: int) -> None:
        """Adds to the number of a row, named by its key, right before the commit."""
        numbers = self._additions.setdefault(addition, {})
        numbers[row] = numbers.get(row, 0) + number

    def finish(self) -> None:
        """Does what is to be done right before the commit."""
        for step in self.before_commit:
            step()
        for addition, numbers in self._additions.items():
            # In one order, so that two transactions don't wait for each other.
            rows = sorted((*row, number) for row, number in numbers.items())
            self._cursor.executemany(addition.text(self._dialect), rows)
        # SQLite has one writer: what was read then still holds, unless this one has changed it.
        if self._dialect.name != "sqlite" or len(self.checks) > 1:
            for check in self.checks:
                check()

    def fetch(
        self, statement: Statement, ids: Sequence[Any] = (), **values: Any
    ) -> list[tuple[Any, ...]]:
        """Returns all rows."""
        self._cursor.execute(*statement.bind(self._dialect, ids, values))
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def run(self, statement: Statement, ids: Sequence[Any] = (), **values: Any) -> None:
        """Runs a statement that returns nothing."""
        self._cursor.execute(*statement.bind(self._dialect, ids, values))

    def run_each(self, statement: Statement, rows: Sequence[tuple[Any, dict[str, Any]]]) -> None:
        """Runs a statement for each row, given as an ID and values, without waiting in between."""
        if not rows:
            return
        bound = [statement.bind(self._dialect, [id_], values) for id_, values in rows]
        self._cursor.executemany(bound[0][0], [parameters for _, parameters in bound])

    def insert(self, statement: Insert, rows: Sequence[tuple[Any, ...]]) -> None:
        """Inserts rows."""
        if not rows:
            return
        text = statement.text(self._dialect)
        if self._dialect.name == "postgresql":
            with self._cursor.copy(text) as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            self._cursor.executemany(text, rows)
