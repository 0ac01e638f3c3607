"""Filters of lists, as callers write them: https://google.aip.dev/160.

    state = PENDING AND email = "someone@example.com"
    (type = "invitation.sent" OR type = "invitation.resent") AND createTime > 2026-03-01T00:00:00Z
    NOT done
    labels.tier = gold AND -labels:blocked AND externalId:*

As the guide has it, OR binds closer than AND, terms side by side are joined by AND, and keywords are
in capitals. `field:*` asks whether there is one, `field:value` is the same as `field = value`. Of the
guide's grammar, functions, wildcards in values and terms without a field are left out.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from server.domain.errors import BillingError, invalid_field
from server.domain.filters import And, Comparator, Comparison, Filter, Not, Or, Present
from server.rpc.messages.filter_fields import HAS, Field

# What is longer, or has more words, operators and parentheses, is not parsed: that would take longer
# than a few milliseconds. 300 are a field's comparison with 75 values.
MOST_CHARACTERS = 2048
MOST_TOKENS = 300
# Parentheses within one another. SQLite reads 22 of them no more, where AND, OR and NOT alternate.
MOST_NESTED = 10

_GRAMMAR = r"""
    ?all: any ("AND"? any)*
    ?any: term ("OR" term)*
    ?term: operand | ("NOT" | "-") operand -> not
    ?operand: comparison | "(" all ")"
    comparison: FIELD (COMPARATOR (QUOTED | WORD))?

    FIELD: /[A-Za-z_][A-Za-z0-9_]*(\.([\w-]+|"([^"\\]|\\.)*"|'([^'\\]|\\.)*'))*/
    COMPARATOR: /[<>!]=|[<>=:]/
    QUOTED: /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
    WORD: /[^\s"'()=]+/

    %ignore /\s+/
"""
_PARSER = Lark(_GRAMMAR, parser="lalr", start="all", maybe_placeholders=False)

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNDERSCORE = re.compile("_([a-z])")
_CAPITAL = re.compile("[A-Z]")
_KEYWORDS = ("AND", "OR", "NOT")
# What may stand at a place where something else does, by the names that Lark gives it.
_EXPECTED = {
    "FIELD": "a field",
    "COMPARATOR": "an operator",
    "WORD": "a value",
    "AND": "AND",
    "OR": "OR",
    "RPAR": "')'",
}
_NESTING = {"LPAR": 1, "RPAR": -1}
_LONGEST_SHOWN = 50

_ANY = "*"


class ListFilter:
    """Reads the filters of one list: those that compare its fields."""

    def __init__(self, *fields: Field[Any]) -> None:
        self._fields = {field.name: field for field in fields}

    def parse(self, written: str) -> Filter | None:
        """Returns the filter, None where there is none. Raises FIELDS_INVALID."""
        if not written or written.isspace():
            return None
        return self._filter(_parse(written))

    def _filter(self, tree: Tree[Token]) -> Filter:
        """Returns what a tree of the grammar stands for."""
        if tree.data == "comparison":
            return self._comparison(*cast("list[Token]", tree.children))
        conditions = [self._filter(cast("Tree[Token]", each)) for each in tree.children]
        if tree.data == "not":
            return _negated(conditions[0])
        kind: type[And] | type[Or] = And if tree.data == "all" else Or
        return kind(tuple(part for each in conditions for part in _parts(each, kind)))

    def _field(self, written: str) -> Field[Any] | None:
        """Returns the field, also of a path that goes on with a map's key."""
        first, dot, key = written.partition(".")
        container = self._fields.get(_in_json(first))
        if container is None or not container.is_map:
            return self._fields.get(_in_json(written))
        return (
            container
            if not dot
            else replace(container, name=f"{container.name}.{_bare(key)}", is_map=False)
        )

    def _comparison(
        self, name: Token, sign: Token | None = None, written: Token | None = None
    ) -> Filter:
        field = self._field(name)
        if field is None and name.upper() in _KEYWORDS:
            raise _invalid_at(
                name,
                f"expected a field, found {name}"
                if name.isupper()
                else f"write {name.upper()} in capitals",
            )
        shown = name if len(name) <= _LONGEST_SHOWN else name[: _LONGEST_SHOWN - 1] + "…"
        if field is None:
            texts = (
                f"no field {shown}; use {' or '.join(map(written_as, self._fields))}"
                for written_as in (_in_proto, str)
            )
            raise _invalid_at(name, *texts)
        if field.is_map:
            return _key_of(field, name, sign, written)
        if sign is None or written is None:
            if not field.is_bool:
                raise _invalid_at(
                    name,
                    f"{shown} must be compared, as in {shown} {field.operators[0]} …",
                )
            return Comparison(field.name, Comparator.EQUAL, True)
        if sign not in field.operators:
            raise _invalid_at(
                sign, f"{shown} does not know {sign}; use {' or '.join(field.operators)}"
            )
        if sign == HAS and written == _ANY:
            if field.is_plain:
                return Comparison(field.name, Comparator.UNEQUAL, "")
            return Present(field.name)
        try:
            value = field.read(_unquoted(written))
        except ValueError as error:
            raise _invalid_at(written, f"{shown} {error}") from None
        comparator = Comparator.EQUAL if sign == HAS else Comparator(sign)
        if field.is_bool and comparator is Comparator.UNEQUAL:
            return Comparison(field.name, Comparator.EQUAL, not value)
        return Comparison(field.name, comparator, value)


def invalid_filter(description: str, json_description: str | None = None) -> BillingError:
    """Returns the refusal of a filter."""
    return invalid_field("filter", description, json_description)


def _key_of(field: Field[Any], name: Token, sign: Token | None, written: Token | None) -> Present:
    """Returns whether a map has a key, or any."""
    if sign is None or written is None or sign != HAS:
        shown = field.name
        raise _invalid_at(
            name, f"{shown} holds values by key: write {shown}.key = … or {shown}:key"
        )
    if written == _ANY:
        return Present(field.name)
    return Present(f"{field.name}.{_unquoted(written)}")


def _parts(condition: Filter, kind: type[And] | type[Or]) -> tuple[Filter, ...]:
    """Returns what a condition in parentheses adds to the one around it, if both are of a kind."""
    return condition.conditions if isinstance(condition, kind) else (condition,)


def _negated(condition: Filter) -> Filter:
    # Such fields always have a value, so that lists by equal values know `NOT done` too.
    if isinstance(condition, Comparison) and isinstance(condition.value, bool):
        return Comparison(condition.field, condition.comparator, not condition.value)
    return Not(condition)


@lru_cache(maxsize=1)  # a call asks twice: while its fields are checked, and once they are right
def _parse(written: str) -> Tree[Token]:
    """Returns the tree of the grammar, or the refusal; gives up as soon as there is too much."""
    if len(written) > MOST_CHARACTERS:
        raise invalid_filter(f"Must have at most {MOST_CHARACTERS} characters.")
    if "\0" in written:  # which PostgreSQL's texts can't hold
        raise _invalid_at(written.index("\0"), "there is a NUL character, which no field holds")
    parser = _PARSER.parse_interactive(written)
    try:
        depth = 0
        for count, token in enumerate(parser.iter_parse(), start=1):
            if count > MOST_TOKENS:
                raise invalid_filter(
                    f"Must have at most {MOST_TOKENS} fields, operators, values and parentheses."
                )
            depth += _NESTING.get(token.type, 0)
            if depth > MOST_NESTED:
                raise _invalid_at(token, f"parentheses can be {MOST_NESTED} deep at most")
        return cast("Tree[Token]", parser.feed_eof())
    except UnexpectedInput as error:
        raise _unexpected(written, error, parser.accepts()) from None


def _unquoted(written: Token) -> str:
    return _bare(written) if written.type == "QUOTED" else str(written)


def _bare(key: str) -> str:
    """Returns what stands in quotes, or what has none as it is."""
    return _ESCAPED.sub(r"\1", key[1:-1]) if key[0] in "\"'" else key


def _in_json(path: str) -> str:
    """Returns a field's path as in JSON: `create_time` may be written too, as in JSON itself."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), path)


def _in_proto(path: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[0].lower(), path)


def _unexpected(written: str, error: UnexpectedInput, possible: Collection[str]) -> BillingError:
    """Returns the refusal of what does not fit the grammar; `possible`: which tokens would have."""
    names = [shown for name, shown in _EXPECTED.items() if name in possible]
    wanted = f"expected {' or '.join(names)}" if names else "nothing more can stand here"
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return invalid_filter(f"At the end: {wanted}.")
    position = error.pos_in_stream or 0
    found = written[position]
    if found in "\"'" and "QUOTED" in possible:
        return _invalid_at(position, f"there is no second {found} to this one")
    return _invalid_at(position, f"{wanted}, found {found!r}")


def _invalid_at(
    at: Token | int, description: str, json_description: str | None = None
) -> BillingError:
    """Returns the refusal of what stands at a place, counted from 0."""
    position = at if isinstance(at, int) else at.start_pos or 0
    texts = (description, json_description or description)
    return invalid_filter(*(f"At character {position + 1}: {text}." for text in texts))
