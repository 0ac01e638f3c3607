"""An import that is run again, when the result file, the rows or the customers are others by then."""

import csv
import uuid
from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.client.spreadsheets import invited, results, rows, write_csv


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "customers.csv"


def lose(file: Path) -> None:
    """Deletes the result file."""
    Path(f"{file}.results.csv").unlink()


@pytest.mark.parametrize("external_ids", [True, False])
def test_existing_customers_are_found_after_their_keys_ended(
    dev: Run, file: Path, monkeypatch: pytest.MonkeyPatch, external_ids: bool
) -> None:
    content = rows(3, external_ids=external_ids)
    write_csv(file, content)
    assert dev("customers", "import", str(file)).code == 0
    customers = {each["customer"] for each in results(file)}
    lose(file)
    # After two days the service has forgotten it: as if it were another.
    monkeypatch.setattr("client.importing.rows._KEYS", uuid.uuid4())
    done = dev("customers", "import", str(file), "--dry-run")
    assert (done.code, done.out) == (0, "3 there already\n")
    done = dev("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (0, "3 there already"), done.err
    assert [each["state"] for each in results(file)] == ["EXISTS"] * 3
    assert {each["customer"] for each in results(file)} == customers
    assert invited(dev, content) == sorted(row[1] for row in content)


def test_a_name_that_was_corrected_invites_nobody(dev: Run, file: Path) -> None:
    content = rows(2)
    write_csv(file, content)
    assert dev("customers", "import", str(file)).code == 0
    lose(file)
    content[0][0] = "Another name"
    write_csv(file, content)
    done = dev("customers", "import", str(file))
    assert done.code == 0, done.err
    assert results(file)[0]["state"] == "EXISTS"
    assert invited(dev, content) == sorted(row[1] for row in content)


def test_a_changed_row_whose_invitation_has_ended_is_refused(dev: Run, file: Path) -> None:
    content = rows(1, external_ids=False)
    write_csv(file, content)
    assert dev("customers", "import", str(file)).code == 0
    invitation = dev("operations", "get", results(file)[0]["operation"], "-o", "json").json
    assert dev("invitations", "revoke", invitation["metadata"]["invitation"]).code == 0
    lose(file)
    content[0][0] = "Another name"
    write_csv(file, content)
    done = dev("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (1, "1 refused")
    assert "two days" in results(file)[0]["error"]
    assert invited(dev, content) == [content[0][1]]


def test_an_external_id_of_somebody_else_is_wrong(dev: Run, file: Path) -> None:
    content = rows(2)
    words = ("--name", "Somebody else", "--external-id", content[1][3])
    there = dev("customers", "create", *words, "-o", "json").json
    write_csv(file, content)
    done = dev("customers", "import", str(file))
    assert done.code == 1
    [line] = [each for each in done.err.splitlines() if "line 4" in each]
    assert there["name"] in line
    assert invited(dev, content) == []


def test_a_cancelled_invitation_is_not_made_again(dev: Run, file: Path) -> None:
    content = rows(1)
    write_csv(file, content)
    assert dev("customers", "import", str(file)).code == 0
    [was] = results(file)
    with Path(f"{file}.results.csv").open("w", newline="") as text:
        writer = csv.DictWriter(text, was, lineterminator="\n")
        writer.writeheader()
        writer.writerow({**was, "state": "CANCELLED"})
    done = dev("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (0, "1 done before")
