"""Tables made from row types: one definition names, types and orders the columns.

A row type is a NamedTuple whose fields are the table's columns. The table is made from it, rows are
written as values of it (`sql.statements.Insert`) and read as values of it (`Query`), always by name.
Columns have types of their own (`CustomerNumber`, `Micros`, `Email`, …), so that a value in the wrong
column does not pass the type checker.
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

# A number of a small fixed set, which `schema.codes` gives names.
Code = NewType("Code", int)
# Counts of a row: attempts.
Count = NewType("Count", int)

# A number that SQLite may use as its rowid, which must be called INTEGER there.
NUMBER: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
_TYPES: Mapping[Any, TypeEngine[Any]] = {
    Code: SmallInteger(),
    Count: Integer(),
    int: BigInteger(),
    str: Text(),
    bytes: LargeBinary(),
    bool: Boolean(),
}


def table(
    name: str,
    metadata: MetaData,
    row: type[tuple[Any, ...]],
    key: str | tuple[str, ...],
    defaults: Mapping[str, Any] | None = None,
) -> Table:
    """Makes the table whose columns are the fields of the row type; `key` is its primary key.

    A field that may be None is a column that may be NULL.
    """
    defaults = defaults or {}
    keys = (key,) if isinstance(key, str) else key
    columns: list[Column[Any]] = []
    for field, hint in get_type_hints(row).items():
        type_, nullable = _column_type(hint)
        is_key = field in keys
        if keys == (field,) and isinstance(type_, BigInteger):
            type_ = NUMBER
        columns.append(
            Column(
                field,
                type_,
                primary_key=is_key,
                nullable=nullable,
                autoincrement=False,
                server_default=defaults.get(field),
            )
        )
    return Table(name, metadata, *columns)


def index(
    name: str, *columns: Column[Any], where: ColumnElement[bool] | None = None, unique: bool = False
) -> Index:
    """Makes an index, of a part of the rows if there is a condition."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _column_type(hint: Any) -> tuple[TypeEngine[Any], bool]:
    nullable = get_origin(hint) in (Union, UnionType)
    if nullable:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    while hint not in _TYPES:
        hint = hint.__supertype__
    return _TYPES[hint], nullable
