"""Statements: written in SQLAlchemy Core, compiled once, run by the driver itself.

Longer than others: what all statements and transactions share.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import BindParameter, Column, Dialect, Table, bindparam, text
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

from server.storage.sql.reseller_cache import TransactionResellers

RowT = TypeVar("RowT", bound=tuple[Any, ...])

# Each statement of more rows is another text for SQLite to keep.
_MOST_ROWS = 64

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
        # The texts by dialect and length of the list, each with the places of its parameters, or
        # how often they are the list where they are nothing else.
        self._texts: dict[tuple[str, int], tuple[str, list[Any] | int]] = {}

    def bind(
        self, dialect: Dialect, ids: Sequence[Any], values: dict[str, Any]
    ) -> tuple[str, Sequence[Any]]:
        """Returns the text for the driver and its positional parameters."""
        size = len(ids)
        if size > 1:
            size = 1 << (size - 1).bit_length()
        found = self._texts.get((dialect.name, size))
        if found is None:
            found = self._texts[dialect.name, size] = self._compile(dialect, size)
        text, places = found
        if places == 1 and size == 1:
            return text, ids
        if isinstance(places, int):
            return text, [*ids, *repeat(ids[-1], size - len(ids))] * places
        last = len(ids) - 1
        return text, [
            place
            if not isinstance(place, _Slot)
            else ids[min(place.index, last)]
            if place.name == "ids"
            else values[place.name]
            for place in places
        ]

    def _compile(self, dialect: Dialect, size: int) -> tuple[str, list[Any] | int]:
        slots: dict[str, Any] = {name: _Slot(name, 0) for name in self._names}
        if size:
            slots["ids"] = [_Slot("ids", index) for index in range(size)]
        compiled = cast("SQLCompiler", self._clause.compile(dialect=dialect))
        expanded = compiled.construct_expanded_state(slots)
        places = list(expanded.positional_parameters)
        times = len(places) // size if size else 0
        if times and places == slots["ids"] * times:
            return expanded.statement, times
        return expanded.statement, places


class Query(Statement, Generic[RowT]):
    """A statement whose rows are read as values of a row type, which it must select in its order."""

    def __init__(self, row: type[RowT], clause: ClauseElement, *names: str) -> None:
        super().__init__(clause, *names)
        self.make: Callable[[Iterable[Any]], RowT] = row._make  # type: ignore[attr-defined]


class PartQuery(Query[RowT]):
    """Selects a part of a table, and more: the row type's first field is the part's own row type."""

    def __init__(
        self, row: type[RowT], part: type[tuple[Any, ...]], clause: ClauseElement, *names: str
    ) -> None:
        super().__init__(row, clause, *names)
        size, make_part = len(part._fields), part._make  # type: ignore[attr-defined]
        make = self.make
        self.make = lambda values: make((make_part(values[:size]), *values[size:]))  # type: ignore[index]


class PairQuery(Query[RowT]):
    """Finds rows by pairs of values of two columns, each pair by an index.

    SQLite would look through the whole table for `(a, b) IN (VALUES …)`.
    """

    def __init__(self, row: type[RowT], table: Table, one: str, other: str) -> None:
        names = ", ".join(f"{table.name}.{name}" for name in row._fields)  # type: ignore[attr-defined]
        self._pair_text = (  # of names that the schema gives
            f"WITH wanted (one, other) AS (VALUES {{pairs}}) SELECT {names} "  # noqa: S608
            f"FROM wanted CROSS JOIN {table.name} "
            f"WHERE {table.name}.{one} = wanted.one AND {table.name}.{other} = wanted.other"
        )
        super().__init__(row, text(""))

    def bind(
        self,
        dialect: Dialect,
        ids: Sequence[Any],
        values: dict[str, Any],  # noqa: ARG002 - it has none
    ) -> tuple[str, list[Any]]:
        size = 1 << (len(ids) - 1).bit_length()
        found = self._texts.get((dialect.name, size))
        if found is None:
            pair = "(?, ?)" if dialect.name == "sqlite" else "(%s, %s)"
            statement = self._pair_text.format(pairs=", ".join([pair] * size))
            found = self._texts[dialect.name, size] = (statement, 1)
        padded = chain(ids, repeat(ids[-1], size - len(ids)))
        return found[0], list(chain.from_iterable(padded))


def columns(table: Any, row: type[tuple[Any, ...]]) -> list[Column[Any]]:
    """Returns the table's columns that have the names of the row type's fields, in their order."""
    return [table.c[name] for name in row._fields]  # type: ignore[attr-defined]


class Insert(Generic[RowT]):
    """Inserts rows of a row type; the columns that are named, all others take their defaults.

    Truth values are given as 0 and 1: the driver of SQLite takes longer over all but numbers and texts.
    """

    def __init__(self, table: Table, row: type[RowT], *names: str) -> None:
        fields: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
        self._table = table
        self._columns = [table.c[name] for name in names or fields]
        # What of a row is written; None for all of it.
        self._pick = itemgetter(*map(fields.index, names)) if names else None
        self._texts: dict[int, str] = {}
        self._copy = ""

    def written(self, rows: Iterable[RowT]) -> Iterable[tuple[Any, ...]]:
        """Returns what of each row is written."""
        return rows if self._pick is None else map(self._pick, rows)

    def text(self, size: int) -> str:
        """Returns the text for SQLite's driver: INSERT of so many rows."""
        text = self._texts.get(size)
        if text is None:
            names = ", ".join(column.name for column in self._columns)
            row = "(" + ", ".join("?" * len(self._columns)) + ")"
            rows = ", ".join([row] * size)
            text = f"INSERT INTO {self._table.name} ({names}) VALUES {rows}"  # noqa: S608
            self._texts[size] = text
        return text

    def copy_text(self, dialect: Dialect) -> str:
        """Returns the text for PostgreSQL: COPY takes half the time of as many INSERTs."""
        if not self._copy:
            quoted = dialect.identifier_preparer
            names = ", ".join(map(quoted.format_column, self._columns))
            self._copy = f"COPY {quoted.format_table(self._table)} ({names}) FROM STDIN"
        return self._copy


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

    ended: IDs of operations that end with it.
    has_work: there may be new work; has_deliveries: there may be something to send to webhooks, or a
        webhook to send to.
    changes_access: it changes who may do what.
    resellers: numbers of resellers that it has looked up (`resellers`).
    next_number: on SQLite, the next number for a customer or operation (`numbers`).
    events: what has happened, in order; logged: the numbers of the resellers that it happened to,
        once that is written (`events.log`).
    before_commit: what is done right before the commit.
    last_steps: what is done after that, with a lock that all writers of a reseller need.
    checks: what is done in the end, and may raise, where what it looks at may have changed since.
    steps: how many statements have been begun, for who looks from outside whether it goes on.
    """

    __slots__ = (
        "_additions",
        "_cursor",
        "_dialect",
        "before_commit",
        "changes_access",
        "checks",
        "ended",
        "events",
        "has_deliveries",
        "has_work",
        "is_sqlite",
        "last_steps",
        "logged",
        "next_number",
        "resellers",
        "steps",
    )

    def __init__(self, cursor: Any, dialect: Dialect, resellers: TransactionResellers) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self.is_sqlite = dialect.name == "sqlite"
        self.ended: list[str] = []
        self.has_work = False
        self.has_deliveries = False
        self.changes_access = False
        self.resellers = resellers
        self.next_number: int | None = None
        self.before_commit: list[Callable[[], None]] = []
        self.events: list[Any] = []
        self.logged: tuple[int, ...] = ()
        self.last_steps: list[Callable[[], None]] = []
        self.checks: list[Callable[[], None]] = []
        self._additions: dict[Addition, dict[tuple[Any, ...], int]] = {}
        self.steps = 0

    def add(self, addition: Addition, row: tuple[Any, ...], number: int) -> None:
        """Adds to the number of a row, named by its key, right before the commit."""
        numbers = self._additions.setdefault(addition, {})
        numbers[row] = numbers.get(row, 0) + number

    def overwrite_what_is_deleted(self) -> None:
        """Has SQLite overwrite what this connection deletes or changes from now on."""
        self._cursor.execute("PRAGMA secure_delete = ON")

    @contextmanager
    def undone(self) -> Iterator["Transaction"]:
        """Gives a transaction of its own in this one; whatever it does is undone in the end."""
        self._cursor.execute("SAVEPOINT undone")
        try:
            inner = Transaction(self._cursor, self._dialect, self.resellers)
            inner.next_number = self.next_number
            yield inner
        finally:
            self._cursor.execute("ROLLBACK TO SAVEPOINT undone")
            self._cursor.execute("RELEASE SAVEPOINT undone")

    def finish(self) -> None:
        """Does what is to be done right before the commit."""
        for step in self.before_commit:
            step()
        for addition, numbers in self._additions.items():
            # In one order, so that two transactions don't wait for each other.
            rows = sorted((*row, number) for row, number in numbers.items())
            self.steps += 1
            self._cursor.executemany(addition.text(self._dialect), rows)
        for step in self.last_steps:
            step()
        # SQLite has one writer: what was read then still holds, unless this one has changed it.
        if not self.is_sqlite or len(self.checks) > 1:
            for check in self.checks:
                check()

    def fetch(self, query: Query[RowT], ids: Sequence[Any] = (), **values: Any) -> list[RowT]:
        """Returns all rows."""
        self.steps += 1
        self._cursor.execute(*query.bind(self._dialect, ids, values))
        return list(map(query.make, self._cursor.fetchall()))

    def run(self, statement: Statement, ids: Sequence[Any] = (), **values: Any) -> None:
        """Runs a statement that returns nothing."""
        self.steps += 1
        self._cursor.execute(*statement.bind(self._dialect, ids, values))

    def run_each(self, statement: Statement, rows: Sequence[tuple[Any, dict[str, Any]]]) -> None:
        """Runs a statement for each row, given as an ID and values, without waiting in between."""
        if not rows:
            return
        self.steps += 1
        bound = [statement.bind(self._dialect, [id_], values) for id_, values in rows]
        self._cursor.executemany(bound[0][0], [parameters for _, parameters in bound])

    def insert(self, statement: Insert[RowT], rows: Sequence[RowT]) -> None:
        """Inserts rows: on SQLite by statements of 1, 2, 4, … rows, the largest first."""
        if not rows:
            return
        self.steps += 1
        if not self.is_sqlite:
            with self._cursor.copy(statement.copy_text(self._dialect)) as copy:
                for row in statement.written(rows):
                    copy.write_row(row)
            return
        start, left = 0, len(rows)
        while left:
            size = min(1 << (left.bit_length() - 1), _MOST_ROWS)
            values = chain.from_iterable(statement.written(rows[start : start + size]))
            self._cursor.execute(statement.text(size), list(values))
            start += size
            left -= size
