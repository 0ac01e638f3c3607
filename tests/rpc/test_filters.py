"""Filters as callers write them: what they stand for, and how each mistake is named."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import NoReturn

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.filters import And, Comparator, Comparison, Filter, Not, Or, Present
from server.rpc.messages.filter_fields import (
    bool_field,
    enum_field,
    map_field,
    text_field,
    time_field,
)
from server.rpc.messages.filters import MOST_CHARACTERS, MOST_NESTED, MOST_TOKENS, ListFilter
from server.rpc.messages.operations import parse_operation_filter


class State(Enum):
    OPEN = 1
    SHUT = 2


def lower(written: str) -> str:
    if not written:
        raise ValueError("must not be empty")
    return written.lower()


STATE = enum_field("state", {state.name: state for state in State})
EMAIL = text_field("email", lower)
LIST = ListFilter(
    *(STATE, EMAIL, text_field("type"), text_field("actor.subject")),
    *(time_field("createTime"), bool_field("done")),
    *(text_field("title", is_plain=True), map_field("labels")),
)


def equal(field: str, value: str | bool | State | datetime) -> Comparison:
    return Comparison(field, Comparator.EQUAL, value)


def is_type(value: str) -> Comparison:
    return equal("type", value)


A, B, C, D = (is_type(letter) for letter in "abcd")
OPEN = equal("state", State.OPEN)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        (" \t\n ", None),
        ("type = a", A),
        ("type=a", A),
        ('type="a"', A),
        ("type='a'", A),
        ("type = a+b-c@example.com:8/<x>!,*", is_type("a+b-c@example.com:8/<x>!,*")),
        ('type = " a  b "', is_type(" a  b ")),
        ("type = 'a \"b\"'", is_type('a "b"')),
        ('type = ""', is_type("")),
        (r'type = "a\"b\\c\n"', is_type('a"b\\cn')),
        ('type = "a\nb"', is_type("a\nb")),
        ('type = "a AND (b"', is_type("a AND (b")),
        ("type = AND", is_type("AND")),
        ("state = OPEN", OPEN),
        ("email = A@B", equal("email", "a@b")),
        ("actor.subject = a", equal("actor.subject", "a")),
        ("state = OPEN AND type=a", And((OPEN, A))),
        ('type="a"AND state=OPEN', And((A, OPEN))),
        ("type = a state = OPEN", And((A, OPEN))),
        ("type = a OR type = b", Or((A, B))),
        ("(type = a)", A),
        ("((type = a))", A),
        ("NOT type = a", Not(A)),
        ("-type = a", Not(A)),
        ("NOT (type = a OR type = b)", Not(Or((A, B)))),
        ("NOT(NOT type = a)", Not(Not(A))),
        # OR binds closer than AND, and than terms side by side.
        ("type=a AND type=b OR type=c AND type=d", And((A, Or((B, C)), D))),
        ("type=a type=b OR type=c type=d", And((A, Or((B, C)), D))),
        ("(type=a AND type=b) OR type=c", Or((And((A, B)), C))),
        ("(type=a type=b) AND (type=c AND type=d)", And((A, B, C, D))),
        ("type=a OR (type=b OR type=c)", Or((A, B, C))),
        ("type=a -type=b", And((A, Not(B)))),
        ("done", equal("done", True)),
        ("done = TRUE", equal("done", True)),
        ("done:true", equal("done", True)),
        ("type:a", A),
        ("type:*", Present("type")),
        ("createTime:*", Present("createTime")),
        ('type:"*"', is_type("*")),
        ("title:*", Comparison("title", Comparator.UNEQUAL, "")),
        ("NOT title:*", Not(Comparison("title", Comparator.UNEQUAL, ""))),
        ("labels:*", Present("labels")),
        ("labels:tier", Present("labels.tier")),
        ('-labels:"tier"', Not(Present("labels.tier"))),
        ("labels.tier:*", Present("labels.tier")),
        ("labels.tier = gold", equal("labels.tier", "gold")),
        ("labels.cost_center-1 = gold", equal("labels.cost_center-1", "gold")),
        ('labels."región"=gold', equal("labels.región", "gold")),
        ("labels.región:gold", equal("labels.región", "gold")),
        ("done != true", equal("done", False)),
        ("NOT done", equal("done", False)),
        ("-done=false", equal("done", True)),
    ],
)
def test_a_filter_is_read_as_the_guide_has_it(text: str, found: Filter | None) -> None:
    assert LIST.parse(text) == found


@pytest.mark.parametrize("name", ["createTime", "create_time"])
@pytest.mark.parametrize("sign", Comparator)
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T09:30:00Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01t09:30:00.123456789z", datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)),
        ('"2026-03-01T09:30:00.123456Z"', datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)),
        (
            "2026-03-01T09:30:00+03:00",
            datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=3))),
        ),
    ],
)
def test_times_are_read_by_rfc_3339_and_compared_by_every_operator(
    name: str, sign: Comparator, text: str, at: datetime
) -> None:
    assert LIST.parse(f"{name} {sign} {text}") == Comparison("createTime", sign, at)


def refused(text: str, filter_: ListFilter = LIST) -> str:
    """Returns what the refusal says, which is about the filter and nothing else."""
    with pytest.raises(BillingError) as raised:
        filter_.parse(text)
    return description(raised.value)


def description(error: BillingError) -> str:
    assert error.reason is Reason.FIELDS_INVALID
    (violation,) = error.fields
    assert violation.field == "filter"
    return violation.description


FIELDS = "state or email or type or actor.subject or create_time or done or title or labels"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("type = a AND name = b", f"At character 14: no field name; use {FIELDS}."),
        ("Type = a", f"At character 1: no field Type; use {FIELDS}."),
        ("type = a b", f"At character 10: no field b; use {FIELDS}."),
        ("x" * 60, f"At character 1: no field {'x' * 49}…; use {FIELDS}."),
        ("type = a ANDx = b", f"At character 10: no field ANDx; use {FIELDS}."),
        ("state > OPEN", "At character 7: state does not know >; use = or != or :."),
        ("type < a", "At character 6: type does not know <; use = or != or :."),
        (
            "labels",
            "At character 1: labels holds values by key: write labels.key = … or labels:key.",
        ),
        (
            "labels = a",
            "At character 1: labels holds values by key: write labels.key = … or labels:key.",
        ),
        ("labels.a < b", "At character 10: labels.a does not know <; use = or != or :."),
        ("labels.a", "At character 1: labels.a must be compared, as in labels.a = …."),
        ("type.a = b", f"At character 1: no field type.a; use {FIELDS}."),
        ("state = open", "At character 9: state must be one of OPEN, SHUT."),
        ('state = "OPEN "', "At character 9: state must be one of OPEN, SHUT."),
        ('email = ""', "At character 9: email must not be empty."),
        ("done = maybe", "At character 8: done must be true or false."),
        *(
            (
                f"createTime > {wrong}",
                "At character 14: createTime must be a time such as 2026-03-01T09:30:00Z.",
            )
            for wrong in (
                *("yesterday", "2026-03-01", "2026-13-01T00:00:00Z", "2026-03-01T00:00:00"),
                *("2026-02-30T00:00:00Z", "2026-03-01T24:00:00Z", "2026-3-1T0:0:0Z"),
                *("2026-03-01T00:00:00+99:99", "2026-03-01T00:00:00+24:00"),
                *("2026-03-01T00:00:00+03:60", "2026-03-01T00:00:00+3:00"),
                *("2026-03-01T00:00:00+-1:00", "2026-03-01T00:00:00+0300"),
                *("2026-03-01T00:00:00.Z", "2026-03-01T00:00:00.1_2Z"),
                *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
            )
        ),
        (
            "create_time > x",
            "At character 15: create_time must be a time such as 2026-03-01T09:30:00Z.",
        ),
        ("create_time", "At character 1: create_time must be compared, as in create_time = …."),
        ("type", "At character 1: type must be compared, as in type = …."),
        ("type =", "At the end: expected a value."),
        ("type = a AND", "At the end: expected a field."),
        ("NOT", "At the end: expected a field."),
        ("(type = a", "At the end: expected ')'."),
        ("= a", "At character 1: expected a field, found '='."),
        ("()", "At character 2: expected a field, found ')'."),
        ("type = (a)", "At character 8: expected a value, found '('."),
        ("type == a", "At character 7: expected a value, found '='."),
        ("type = a)", "At character 9: nothing more can stand here, found ')'."),
        ("AND type = a", "At character 1: expected a field, found AND."),
        ("type = a OR OR done", "At character 13: expected a field, found OR."),
        ("type = a and done", "At character 10: write AND in capitals."),
        ("not done", "At character 1: write NOT in capitals."),
        ("type = 'a", "At character 8: there is no second ' to this one."),
        ('type = "a\\"', 'At character 8: there is no second " to this one.'),
        ('type = a"', "At character 9: expected a field or AND or OR, found '\"'."),
        ('"a"', "At character 1: expected a field, found '\"'."),
        ("тип = a", "At character 1: expected a field, found 'т'."),
        ("type = a\0", "At character 9: there is a NUL character, which no field holds."),
    ],
)
def test_a_wrong_filter_is_refused_with_the_place_and_what_would_be_right(
    text: str, says: str
) -> None:
    assert refused(text) == says


def test_fields_are_named_as_in_json_to_those_who_write_them_so() -> None:
    with pytest.raises(BillingError) as raised:
        LIST.parse("name = b")
    in_json = FIELDS.replace("create_time", "createTime")
    assert (
        raised.value.fields[0].json_description == f"At character 1: no field name; use {in_json}."
    )


def test_a_filter_has_a_length_and_a_number_of_words_at_most() -> None:
    assert LIST.parse(" " * (MOST_CHARACTERS - 4) + "done")
    assert refused(" " * (MOST_CHARACTERS - 3) + "done") == "Must have at most 2048 characters."
    most = "done " * MOST_TOKENS
    assert LIST.parse(most)
    too_many = "Must have at most 300 fields, operators, values and parentheses."
    assert refused(most + "done") == too_many
    assert refused("-a" * MOST_TOKENS) == too_many


def test_the_deepest_filter_is_read() -> None:
    most = MOST_NESTED
    assert LIST.parse("NOT (" * most + "done" + ")" * most) == equal("done", most % 2 == 0)
    assert isinstance(LIST.parse("NOT (" * most + "type = a" + ")" * most), Not)
    # Side by side there may be more of them.
    assert LIST.parse("(done) " * 2 * most)
    too_deep = f"At character {most + 1}: parentheses can be {most} deep at most."
    assert refused("(" * (most + 1) + "done" + ")" * (most + 1)) == too_deep


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("error", "At character 1: error must be compared, as in error : …."),
        ("error = x", "At character 7: error does not know =; use :."),
        ("error:x", "At character 7: error can only be asked for with *: whether there is one."),
        (
            "metadata.customer = bcu1",
            "At character 21: metadata.customer must be resellers/{reseller}/customers/{customer}.",
        ),
    ],
)
def test_mistakes_with_fields_of_operations(text: str, problem: str) -> None:
    with pytest.raises(BillingError) as raised:
        parse_operation_filter(text)
    assert description(raised.value) == problem


def test_the_value_of_a_mistake_in_reading_is_shown_by_the_field_that_reads() -> None:
    def broken(written: str) -> NoReturn:
        raise ValueError(f"must not be {len(written)} long")

    assert refused("a = bcd", ListFilter(text_field("a", broken))) == (
        "At character 5: a must not be 3 long."
    )
