"""`billing customers import`: what is read, what is refused, and that each is invited once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.client.spreadsheets import invited, results, rows, write_csv, write_xlsx
from tests.service import ROOT, Service, eventually

# `make imports` kills more often; the usual run is short.
KILLS = int(os.environ.get("IMPORT_KILLS", "3"))
ROWS = int(os.environ.get("IMPORT_ROWS", "60"))


def addresses(content: list[list[str]]) -> list[str]:
    return sorted(row[1] for row in content)


@pytest.mark.parametrize(
    ("encoding", "delimiter", "before", "told"),
    [
        ("utf-8", ",", "", "UTF-8, fields separated by comma"),
        ("utf-8-sig", ";", "", "UTF-8 with a byte order mark, fields separated by semicolon"),
        ("utf-16", "\t", "", "UTF-16, fields separated by tab"),
        ("utf-16-le", ",", "", "UTF-16-LE"),
        ("cp1251", ";", "", "Windows-1251, fields separated by semicolon"),
        ("utf-8-sig", ";", "sep=;\r\n", "separated by semicolon"),
    ],
)
def test_csv_is_read_as_spreadsheets_write_it(
    dev: Run, tmp_path: Path, encoding: str, delimiter: str, before: str, told: str
) -> None:
    file, content = tmp_path / "customers.csv", rows(2)
    write_csv(file, content, encoding=encoding, delimiter=delimiter, before=before)
    done = dev("customers", "import", str(file))
    assert done.code == 0, done.err
    assert told in done.err
    assert [each["external_id"] for each in results(file)] == [row[3] for row in content]
    assert {each["state"] for each in results(file)} <= {"INVITED", "SENT"}
    made = dev("customers", "get", results(file)[0]["customer"], "-o", "json").json
    assert made["displayName"] == content[0][0].replace("\n", " ")
    assert (made["person"]["tin"], made["labels"]) == (content[0][2], {"tier": "gold"})


def test_xlsx_is_read(dev: Run, tmp_path: Path) -> None:
    file, content = tmp_path / "customers.xlsx", rows(3)
    write_xlsx(file, [[*row[:2], int(row[2]), *row[3:]] for row in content])
    done = dev("customers", "import", str(file), "--wait")
    assert done.code == 0, done.err
    assert [each["state"] for each in results(file)] == ["SENT"] * 3
    assert [each["row"] for each in results(file)] == ["2", "3", "4"]
    made = dev("customers", "get", results(file)[0]["customer"], "-o", "json").json
    assert made["person"]["tin"] == content[0][2]


def test_columns_are_mapped_and_the_unknown_named(dev: Run, tmp_path: Path) -> None:
    file, content = tmp_path / "customers.csv", rows(1)
    header = ["Наименование", "E-Mail", "ИНН", "Extrnal ID", "Tier"]
    write_csv(file, content, header=header)
    refused = dev("customers", "import", str(file))
    assert refused.code == 2
    assert "no column for name" in refused.err and "--columns" in refused.err
    mapped = ("--columns", "Наименование=name,ИНН=person.tin", "--columns", "Tier=-")
    done = dev("customers", "import", str(file), *mapped, "--dry-run")
    assert done.code == 0, done.err
    assert "not used: column D (Extrnal ID): is it external_id?" in done.err
    assert done.out == "1 to be invited\n"
    assert dev("customers", "import", str(file), "--columns", "None=name").code == 2
    assert dev("customers", "import", str(file), "--columns", "Tier=none").code == 2


def test_nothing_is_sent_while_a_row_is_wrong(dev: Run, tmp_path: Path) -> None:
    file, content = tmp_path / "customers.csv", rows(7)
    content[1][1] = ""
    content[2][1] = "nobody"
    content[3][2] = "7,70708E+09"
    content[4][4] = "Not a label"
    content[5][3] = content[0][3]
    write_csv(file, content)
    text = file.read_text() + '"half a row,x@example.com\n'
    file.write_text(text)
    for words in ((), ("--dry-run",)):
        done = dev("customers", "import", str(file), *words)
        assert done.code == 1
        # Each row has two lines in the file.
        for where in (
            "line 4, column B (invitation email): Is needed.",
            "line 6, column B (invitation email): ",
            "line 8, column C (PERSON.TIN): A spreadsheet has shortened",
            "line 10, column E (labels.tier): ",
            "line 12, column D (External_ID): Line 2 has the same external ID",
            "line 16: its quotes can't be read",
        ):
            assert where in done.err, done.err
        assert invited(dev, content) == []
    skipped = dev("customers", "import", str(file), "--skip-invalid")
    assert skipped.code == 1
    assert "2 invited" in skipped.out and "6 wrong" in skipped.out
    assert invited(dev, content) == sorted(row[1] for row in (content[0], content[6]))
    states = {each["row"]: each["state"] for each in results(file)}
    assert {states["2"], states["14"]} <= {"INVITED", "SENT"}
    assert [states[line] for line in ("4", "6", "8", "10", "12", "16")] == ["INVALID"] * 6
    # Mended, the rest follows.
    good = rows(6)
    content[1:6], text = [good[at] for at in range(5)], ""
    write_csv(file, content)
    mended = dev("customers", "import", str(file))
    assert (mended.code, mended.out) == (0, f"5 invited, 2 done before; see {file}.results.csv\n")
    assert invited(dev, content) == addresses(content)


@pytest.mark.parametrize("external_ids", [True, False])
def test_rows_may_be_added_and_stand_in_another_order(
    dev: Run, tmp_path: Path, external_ids: bool
) -> None:
    file, content = tmp_path / "customers.csv", rows(6, external_ids=external_ids)
    write_csv(file, content[:4])
    assert dev("customers", "import", str(file)).code == 0
    first = {each["key"]: each["operation"] for each in results(file)}
    content.reverse()
    content[-1][1] = content[-1][1].upper().replace("EXAMPLE", "Example")
    write_csv(file, content)
    done = dev("customers", "import", str(file))
    assert done.out.startswith("2 invited, 4 done before"), done.err
    content[-1][1] = content[-1][1].lower()
    assert invited(dev, content) == addresses(content)
    assert first.items() <= {each["key"]: each["operation"] for each in results(file)}.items()
    # Also where the result file is lost.
    Path(f"{file}.results.csv").unlink()
    done = dev("customers", "import", str(file))
    assert done.out.startswith("5 invited, 1 there already"), done.err
    assert invited(dev, content) == addresses(content)


@pytest.mark.timeout(600 + 60 * KILLS)
def test_each_is_invited_once_however_often_it_is_killed(
    dev: Run, service: Service, tmp_path: Path
) -> None:
    file, content = tmp_path / "customers.csv", rows(ROWS)
    write_csv(file, content)
    words = [sys.executable, "-m", "client", "--dev", "customers", "import", str(file)]
    result_file = Path(f"{file}.results.csv")
    env = {**os.environ, "BILLING_VAR": str(service.var)}
    for killed_at in sorted(random.sample(range(1, ROWS - 10), KILLS)):
        with subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as process:

            def some_done(wanted: int = killed_at) -> bool:
                there = result_file.exists() and result_file.read_bytes().count(b"\n") > wanted
                return there or process.poll() is not None

            eventually(some_done)
            process.send_signal(signal.SIGKILL)
        assert len({each["key"] for each in results(file)}) == len(results(file))
        known = {each["external_id"] for each in results(file)}
        assert known <= {row[3] for row in content}
        random.shuffle(content)
        write_csv(file, content)
    assert dev("customers", "import", str(file)).code == 0
    assert invited(dev, content) == addresses(content)
    assert [each["external_id"] for each in results(file)] == [row[3] for row in content]


def test_rows_that_are_done_cost_no_call(
    dev: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "customers.csv"
    write_csv(file, rows(2))
    assert dev("customers", "import", str(file)).code == 0
    monkeypatch.setattr("client.connection.Connection.attempt", None)
    done = dev("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (0, "2 done before")


def test_half_a_line_at_the_end_is_passed_over(dev: Run, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    write_csv(file, rows(2))
    assert dev("customers", "import", str(file)).code == 0
    result_file = Path(f"{file}.results.csv")
    result_file.write_text(result_file.read_text()[:-20])
    assert dev("customers", "import", str(file)).code == 0
    assert len(results(file)) == 2
    result_file.write_text("name,email\n")
    refused = dev("customers", "import", str(file))
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
