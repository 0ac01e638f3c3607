"""Rows of an import: the key that invites each once, what is wrong with them, and who they are."""

from pathlib import Path

import pytest
from billing.v1 import customer_pb2, customer_service_pb2

from client.errors import ClientError
from client.importing import rows
from client.importing.columns import Columns, parse_given
from client.importing.results import EXISTS, FAILED, INVITED, REFUSED, SENT, Result
from client.importing.spool import Spool
from client.importing.tables import Row, letter, open_table

ROW = {
    "display_name": "Romashka",
    "email": "Ostap@Пример.рф",
    "person.tin": "7700000000",
    "labels.tier": "gold",
    "note": "Hello",
}
HEADER = ["Name", "E-mail", "TIN", "External ID"]


def made(**changes: str) -> customer_service_pb2.InviteCustomerRequest:
    return rows.request("resellers/r1", ROW | changes)


def test_a_row_keeps_its_key_from_release_to_release() -> None:
    """With another key, everybody in a file that was imported before would be invited again."""
    assert str(rows.key(made())) == "f23b99d2-0807-5e31-b0a7-d619e1dd8c92"
    assert str(rows.key(made(external_id="A-1"))) == "fd62dcfb-4150-5568-8e10-2064180389c7"
    assert rows.key_after(str(rows.key(made())), "bop1") == "518ec6a5-1048-5609-85fd-1887ac0aff1a"
    assert rows.key_after(str(rows.key(made())), "") == "f23b99d2-0807-5e31-b0a7-d619e1dd8c92"


def test_a_key_is_of_who_is_invited_and_not_of_how_that_is_written() -> None:
    key = rows.key(made())
    assert key == rows.key(made(email="OSTAP@xn--e1afmkfd.xn--p1ai", note="", display_name="X"))
    assert key == rows.key(made(email="ostap@пример.рф"))
    others = [
        made(email="other@пример.рф"),
        made(**{"person.tin": "1"}),
        made(external_id="A-1"),
        made(external_id="A-2"),
        rows.request("resellers/r2", ROW),
    ]
    assert len({key, *map(rows.key, others)}) == 6
    # With an external ID nothing else counts.
    assert rows.key(others[2]) == rows.key(made(external_id="A-1", email="b@example.com"))


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ({}, {}, True),
        ({}, {"display_name": "Another"}, True),
        ({}, {"email": "other@example.com"}, False),
        ({}, {"person.tin": "1"}, False),
        ({}, {"external_id": "A-1"}, True),
        ({"external_id": "A-1"}, {"external_id": "A-1"}, True),
        ({"external_id": "A-1"}, {"external_id": "A-1", "person.tin": "1"}, True),
        ({"external_id": "A-1"}, {"external_id": "A-1", "email": "b@example.com"}, False),
        ({"external_id": "A-1"}, {"external_id": "A-2"}, False),
        ({"external_id": "A-1"}, {}, False),
    ],
)
def test_an_existing_customer_is_that_of_a_row_or_another(
    wanted: dict[str, str], there: dict[str, str], same: bool
) -> None:
    existing: customer_pb2.Customer = made(**there).customer
    assert rows.is_same(made(**wanted).customer, existing) is same


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        *(("7,70708E+09", True), ("7.70708E+11", True), ("5E+11", True), ("7700000000", False)),
        *(("#N/A", True), ("#ЗНАЧ!", True), ("#1", False), ("E+11", False), ("A5E+11", False)),
    ],
)
def test_numbers_and_formulas_that_a_spreadsheet_has_spoilt_are_wrong(
    value: str, wrong: bool
) -> None:
    found = [field for field, _ in rows.problems(ROW | {"person.tin": value})]
    assert found == (["person.tin"] if wrong else [])


def test_a_row_needs_a_name_and_an_address() -> None:
    assert [field for field, _ in rows.problems({"note": "x"})] == ["display_name", "email"]


def test_two_rows_for_one_customer_are_told_by_the_line_of_the_first() -> None:
    spool = Spool()
    assert spool.add(2, made(external_id="A-1")) is None
    assert spool.add(3, made(external_id="A-1", email="b@example.com")) == 2
    assert spool.add(4, made(external_id="A-2")) == 2  # the same address and tax number
    assert spool.add(5, made(external_id="A-3", email="c@example.com")) is None
    assert [each.line for each in spool.todo()] == [2, 5]


@pytest.mark.parametrize(
    ("state", "todo", "again"),
    [
        *((INVITED, False, False), (SENT, False, False), (EXISTS, False, False)),
        *((FAILED, True, True), (REFUSED, True, False)),
    ],
)
def test_what_failed_is_invited_anew_and_what_is_done_is_not(
    state: str, todo: bool, again: bool
) -> None:
    key = str(rows.key(made()))
    spool = Spool()
    spool.fill([Result(7, "", "c1", "operations/bop1", state, "", key)])
    assert spool.add(2, made()) is None
    found = list(spool.todo())
    assert [each.line for each in found] == ([2] if todo else [])
    assert [each.key != key for each in found] == ([again] if todo else [])
    assert [each.row_key for each in found] == ([key] if todo else [])


def test_more_rows_than_are_read_at_once_have_their_turn_in_order() -> None:
    spool = Spool()
    for line in range(2, 1203):
        spool.add(line, made(email=f"u{line}@example.com"))
        state = INVITED if line % 2 else REFUSED
        spool.note(Result(line, "", "", "", state, "", f"of another row {line}"))
    lines = []
    for each in spool.todo():
        lines.append(each.line)
        spool.note(Result(each.line, "", "", "", SENT, "", each.row_key))
    assert lines == list(range(2, 1203))
    assert [each.row for each in spool.under_way()] == [line for line in lines if line % 2]


@pytest.mark.parametrize(
    ("number", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (702, "AAA")]
)
def test_columns_have_the_letters_of_spreadsheets(number: int, letters: str) -> None:
    assert letter(number) == letters


def test_columns_are_found_by_their_headers_and_named_as_people_find_them() -> None:
    columns = Columns([*HEADER, "", "labels.Tier", "Shoe size"], {})
    assert columns.fields[:4] == ["display_name", "email", "person.tin", "external_id"]
    assert columns.fields[4:] == [None, "labels.tier", None]
    assert columns.unused() == "column G (Shoe size)"
    assert columns.of_field("customer.person.tin") == "column C (TIN)"
    assert columns.of_field("customer.labels", "The key tier is wrong.") == "column F (labels.Tier)"
    assert columns.of_field("customer.labels", "The key other is wrong.") == "labels"
    cells = ["A\nB", "a@example.com", "", "x", "y", "gold"]
    assert columns.values(cells) == {
        "display_name": "A B",
        "email": "a@example.com",
        "external_id": "x",
        "labels.tier": "gold",
    }


@pytest.mark.parametrize(
    ("header", "given", "told"),
    [
        (["Name"], {}, "no column for invitation_email"),
        (["E-mail", "Mail"], {"Mail": "email"}, "for the same: column A"),
        (["Name", "Email"], {"Other": "note"}, "there is no column 'Other'"),
        (["Name", "Email"], {"Name": "nothing"}, "'Name' can't be 'nothing'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    header: list[str], given: dict[str, str], told: str
) -> None:
    with pytest.raises(ClientError, match=told):
        Columns(header, given)


def test_columns_that_a_user_names_are_read() -> None:
    assert parse_given(["A=name,B = note", '"C, or D=E"=-']) == {
        "A": "name",
        "B": "note",
        "C, or D=E": "-",
    }
    for wrong in ("name", "=name", "A="):
        with pytest.raises(ClientError, match="HEADER=FIELD"):
            parse_given([wrong])


@pytest.mark.parametrize(
    ("text", "header", "content"),
    [
        ("a;b\n1;2\n", ["a", "b"], [Row(2, ["1", "2"])]),
        ("sep=\t\na,b\tc\n1\t2\n", ["a,b", "c"], [Row(3, ["1", "2"])]),
        ('"a,b,c";d\n1;2\n', ["a,b,c", "d"], [Row(2, ["1", "2"])]),
        ("\n\na,b\n\n,\n1,2\n", ["a", "b"], [Row(6, ["1", "2"])]),
        ('a,b\n="007",\u200b x \ufeff\n', ["a", "b"], [Row(2, ["007", "x"])]),
        ('a,b\n"x\r\ny",2\n3,4\n', ["a", "b"], [Row(2, ["x\ny", "2"]), Row(4, ["3", "4"])]),
    ],
)
def test_lines_and_cells_are_read_as_people_see_them(
    tmp_path: Path, text: str, header: list[str], content: list[Row]
) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(text.encode())
    table = open_table(file, None)
    assert table.header.cells == header
    assert list(table.rows) == content


def test_a_broken_quote_is_the_problem_of_its_own_row(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text('a,b\n1,2\n"x"y,3\n4,5\n')
    found = list(open_table(file, None).rows)
    assert [(each.line, bool(each.problem)) for each in found] == [
        (2, False),
        (3, True),
        (4, False),
    ]
