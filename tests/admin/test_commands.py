import json
import os
import pwd
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jwt
import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization

from server.commands import cli
from server.domain.access import Role
from tests.admin.conftest import Command

EDITOR = Role.EDITOR.value
USER = pwd.getpwuid(os.getuid()).pw_name


def listed(command: Command, *words: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(command(*words, "--json").stdout)
    return found


def audit(command: Command) -> list[tuple[str, ...]]:
    """Returns who did what, oldest first."""
    records = reversed(listed(command, "audit", "list"))
    return [(each["by"], each["action"], each["target"], each["details"]) for each in records]


def refused(result: Result) -> str:
    """Returns the one line of an error."""
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_resellers_are_added_listed_and_removed(command: Command) -> None:
    made = json.loads(command("resellers", "add", "Horns and Hooves", "--json").stdout)
    assert len(made["id"]) == 20
    command("resellers", "add", "Рога", "--id", "horns")
    command("resellers", "add", "Рога и копыта", "--id", "horns")
    assert [(each["id"], each["name"]) for each in listed(command, "resellers", "list")] == [
        (made["id"], "Horns and Hooves"),
        ("horns", "Рога и копыта"),
    ]
    table = command("resellers", "list").stdout.splitlines()
    assert table[0].split() == ["ID", "NAME", "STATE", "CONTACT", "CREATED", "AT"]
    assert "Рога и копыта" in table[2]
    command("resellers", "remove", "horns")
    assert "horns" in refused(command("resellers", "remove", "horns", code=1))
    assert [each["id"] for each in listed(command, "resellers", "list")] == [made["id"]]
    assert audit(command) == [
        (USER, "resellers.add", made["id"], "Horns and Hooves"),
        (USER, "resellers.add", "horns", "Рога"),
        (USER, "resellers.add", "horns", "Рога и копыта"),
        (USER, "resellers.remove", "horns", ""),
    ]


def test_the_contact_of_a_reseller(command: Command) -> None:
    def contact() -> str:
        (found,) = listed(command, "resellers", "list")
        return found["contact"]

    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    assert contact() == ""
    command("resellers", "contact", "horns", "Sales@рога.рф")
    assert contact() == "sales@xn--80af6ah.xn--p1ai"
    command("resellers", "add", "Horns", "--id", "horns")
    assert contact() == "sales@xn--80af6ah.xn--p1ai"
    for wrong in ("sales", "a@b.example\nBcc: c@d.example", "продажи@рога.рф", "a@b, c@d.example"):
        refused(command("resellers", "contact", "horns", wrong, code=1))
    command("resellers", "contact", "horns", "")
    assert contact() == ""
    assert "hoofs" in refused(command("resellers", "contact", "hoofs", "a@b.example", code=1))
    done = [details for _, action, _, details in audit(command) if action == "resellers.contact"]
    assert done == ["set", "removed"]


def test_the_contact_details_of_a_reseller(command: Command) -> None:
    def details() -> tuple[str, ...]:
        (found,) = listed(command, "resellers", "list")
        return tuple(found[f"contact_{name}"] for name in ("name", "address", "phone"))

    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    assert details() == ("", "", "")
    change = "resellers", "contact-details", "horns"
    command(*change, "--name", "Остап", "--phone", "+7 495 123-45-67")
    command(*change, "--address", "1 Sea Street")
    assert details() == ("Остап", "1 Sea Street", "+7 495 123-45-67")
    command(*change, "--phone", "")
    assert details() == ("Остап", "1 Sea Street", "")
    for wrong in (["--name", "a\nb"], ["--phone", "1" * 301], ["--address", "\u202ea"], []):
        refused(command(*change, *wrong, code=1))
    assert "hoofs" in refused(command(*change[:2], "hoofs", "--name", "a", code=1))
    found = [text for _, action, _, text in audit(command) if action.endswith("contact-details")]
    assert found == ["name set, phone set", "address set", "phone removed"]


def test_the_origins_that_pages_of_a_reseller_lead_back_to(command: Command) -> None:
    def origins() -> str:
        (found,) = listed(command, "resellers", "list")
        return found["return_origins"]

    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    add = "resellers", "add-return-origin", "horns"
    for written in ("https://shop.example", "HTTPS://Shop.example:443", "http://localhost:8080"):
        command(*add, written)
    assert origins() == "http://localhost:8080 https://shop.example"
    for wrong in ("shop.example", "http://shop.example", "https://shop.example/", "https://а.рф"):
        refused(command(*add, wrong, code=1))
    refused(command("resellers", "add-return-origin", "hoofs", "https://a.example", code=1))
    command("resellers", "remove-return-origin", "horns", "http://localhost:8080")
    assert origins() == "https://shop.example"
    found = [(action, text) for _, action, _, text in audit(command) if "origin" in action]
    assert found == [
        ("resellers.add-return-origin", "https://shop.example"),
        ("resellers.add-return-origin", "http://localhost:8080"),
        ("resellers.remove-return-origin", "http://localhost:8080"),
    ]


def test_a_suspended_reseller_is_listed_as_such_until_it_is_resumed(command: Command) -> None:
    def state() -> str:
        (found,) = listed(command, "resellers", "list")
        return found["state"]

    command("resellers", "add", "Horns and Hooves", "--id", "horns")
    assert command("resellers", "resume", "horns").stdout == "it is not suspended\n"
    assert command("resellers", "suspend", "horns").stdout == "suspended reseller horns\n"
    assert command("resellers", "suspend", "horns").stdout == "it is suspended already\n"
    assert state() == "suspended"
    assert command("resellers", "resume", "horns").stdout == "resumed reseller horns\n"
    assert state() == "active"
    for word in ("suspend", "resume"):
        assert "hoofs" in refused(command("resellers", word, "hoofs", code=1))
    assert [action for _, action, _, _ in audit(command)] == [
        "resellers.add",
        "resellers.suspend",
        "resellers.resume",
    ]


def test_a_removed_reseller_comes_back_without_roles(command: Command) -> None:
    command("resellers", "add", "A reseller", "--id", "horns")
    command("roles", "grant", "someone", EDITOR, "horns")
    command("resellers", "remove", "horns")
    assert "horns" in refused(command("roles", "grant", "someone", EDITOR, "horns", code=1))
    command("resellers", "add", "A reseller", "--id", "horns")
    assert listed(command, "roles", "list") == []
    assert [each["id"] for each in listed(command, "resellers", "list")] == ["horns"]


def test_service_accounts_are_added_listed_and_removed(command: Command) -> None:
    made = json.loads(command("service-accounts", "add", "Nightly", "--json").stdout)
    assert made["id"].startswith("aje")
    command("service-accounts", "add", "Daily", "--id", "daily", "--by", "ticket 17")
    assert [each["name"] for each in listed(command, "service-accounts", "list")] == [
        "Nightly",
        "Daily",
    ]
    command("service-accounts", "remove", made["id"])
    assert [each["id"] for each in listed(command, "service-accounts", "list")] == ["daily"]
    assert made["id"] in refused(command("service-accounts", "remove", made["id"], code=1))
    assert audit(command)[1:] == [
        ("ticket 17", "service-accounts.add", "daily", "Daily"),
        (USER, "service-accounts.remove", made["id"], ""),
    ]


def test_a_key_file_is_what_the_sdks_read(command: Command, tmp_path: Path) -> None:
    command("service-accounts", "add", "Nightly", "--id", "nightly")
    file = tmp_path / "key.json"
    made = json.loads(command("keys", "add", "nightly", "-o", str(file), "--json").stdout)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key: dict[str, Any] = json.loads(file.read_text())
    assert set(key) == {
        "id",
        "service_account_id",
        "created_at",
        "key_algorithm",
        "public_key",
        "private_key",
    }
    assert key["id"] == made["id"]
    assert key["service_account_id"] == "nightly"
    assert key["key_algorithm"] == "RSA_2048"
    assert key["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    token = jwt.encode({}, key["private_key"], "PS256")
    jwt.decode(token, key["public_key"], ["PS256"])
    private = serialization.load_pem_private_key(key["private_key"].encode(), None)
    assert private.key_size == 2048  # type: ignore[union-attr]
    assert listed(command, "keys", "list") == [
        {name: key[name] for name in ("id", "service_account_id", "key_algorithm", "created_at")}
    ]


def test_no_private_key_is_kept(command: Command, var: Path, tmp_path: Path) -> None:
    command("service-accounts", "add", "Nightly", "--id", "nightly")
    command("keys", "add", "nightly", "-o", str(tmp_path / "key.json"))
    lines = json.loads((tmp_path / "key.json").read_text())["private_key"].splitlines()
    kept = b"".join(file.read_bytes() for file in var.rglob("*") if file.is_file())
    assert lines[5].encode() not in kept


def test_account_keys_are_added_listed_and_removed(command: Command, tmp_path: Path) -> None:
    for account in ("nightly", "daily"):
        command("service-accounts", "add", account, "--id", account)
        command("keys", "add", account, "-o", str(tmp_path / account))
    found = listed(command, "keys", "list", "--service-account", "daily")
    assert [each["service_account_id"] for each in found] == ["daily"]
    command("keys", "remove", found[0]["id"])
    assert found[0]["id"] in refused(command("keys", "remove", found[0]["id"], code=1))
    assert [each["service_account_id"] for each in listed(command, "keys", "list")] == ["nightly"]
    command("service-accounts", "remove", "nightly")
    assert listed(command, "keys", "list") == []
    details = f"service account {found[0]['service_account_id']}"
    assert (USER, "keys.remove", found[0]["id"], details) in audit(command)


def test_a_key_that_is_refused_leaves_no_file(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    assert "nobody" in refused(command("keys", "add", "nobody", "-o", str(file), code=1))
    assert not file.exists()
    command("service-accounts", "add", "Nightly", "--id", "nightly")
    file.write_text("precious")
    assert str(file) in refused(command("keys", "add", "nightly", "-o", str(file), code=1))
    assert file.read_text() == "precious"
    nowhere = str(tmp_path / "no" / "folder")
    assert nowhere in refused(command("keys", "add", "nightly", "-o", nowhere, code=1))
    assert listed(command, "keys", "list") == []


def test_roles_are_granted_listed_and_revoked(command: Command) -> None:
    command("resellers", "add", "A reseller", "--id", "horns")
    command("resellers", "add", "Another", "--id", "hooves")
    command("service-accounts", "add", "Nightly", "--id", "nightly")
    for role in Role:
        assert "granted" in command("roles", "grant", "nightly", role.value, "horns").stdout
    assert "already" in command("roles", "grant", "nightly", EDITOR, "horns").stdout
    command("roles", "grant", "nightly", EDITOR, "hooves")
    outside = command("roles", "grant", "auth0|5f7c", EDITOR, "hooves")
    assert "no service account" in outside.stderr
    assert len(listed(command, "roles", "list", "--subject", "nightly")) == len(Role) + 1
    assert [
        (each["subject_id"], each["role"])
        for each in listed(command, "roles", "list", "--reseller", "hooves")
    ] == [("nightly", EDITOR), ("auth0|5f7c", EDITOR)]
    command("roles", "revoke", "nightly", EDITOR, "horns")
    assert EDITOR in refused(command("roles", "revoke", "nightly", EDITOR, "horns", code=1))
    assert len(listed(command, "roles", "list", "--reseller", "horns")) == len(Role) - 1
    command("service-accounts", "remove", "nightly")
    assert [each["subject_id"] for each in listed(command, "roles", "list")] == ["auth0|5f7c"]
    assert (USER, "roles.revoke", "nightly", f"{EDITOR} for horns") in audit(command)
    assert [each[1] for each in audit(command)].count("roles.grant") == len(Role) + 2


def test_iam_keys_are_rotated_and_listed(command: Command, var: Path) -> None:
    assert listed(command, "iam-keys", "list") == []
    assert not (var / "keys").exists()
    first = json.loads(command("iam-keys", "rotate", "--json").stdout)["id"]
    second = json.loads(command("iam-keys", "rotate", "--json").stdout)["id"]
    found = listed(command, "iam-keys", "list")
    assert [each["id"] for each in found] == [first, second]
    assert found[0]["verifies_until"] > found[1]["created_at"]
    assert found[1]["verifies_until"] == ""
    third = json.loads(command("iam-keys", "rotate", "--drop-old", "--json").stdout)["id"]
    assert [each["id"] for each in listed(command, "iam-keys", "list")] == [third]
    assert audit(command)[1:] == [
        (USER, "iam-keys.rotate", second, ""),
        (USER, "iam-keys.rotate", third, "all others dropped"),
    ]
    (var / "keys" / "iam" / "mine.pem").write_text("")
    assert "mine.pem" in refused(command("iam-keys", "rotate", code=1))


def test_audit_is_newest_first_and_limited(command: Command) -> None:
    for number in range(3):
        command("resellers", "add", f"Reseller {number}", "--id", f"r-{number}")
    found = listed(command, "audit", "list", "--limit", "2")
    assert [each["target"] for each in found] == ["r-2", "r-1"]
    assert found[0]["at"] > found[1]["at"]


@pytest.mark.parametrize(
    "words",
    [
        ("resellers", "add", " "),
        ("resellers", "add", "two\nlines"),
        ("resellers", "add", "x" * 201),
        ("resellers", "add", "A", "--id", "x" * 51),
        ("resellers", "add", "A", "--id", "Horns!"),
        ("service-accounts", "add", "A", "--id", ""),
        ("roles", "grant", "", EDITOR, "horns"),
        ("roles", "grant", "рога", EDITOR, "horns"),
        ("roles", "grant", "someone", "billing.accounts.king", "horns"),
        ("roles", "grant", "someone", EDITOR, "no-such-reseller"),
    ],
)
def test_bad_values_are_refused_in_one_line(command: Command, words: tuple[str, ...]) -> None:
    refused(command(*words, code=1))
    assert audit(command) == []


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from commands(each, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_each_command_explains_itself(command: Command, words: tuple[str, ...]) -> None:
    help_ = command(*words, "--help").stdout
    which: click.Command = cli
    for word in words:
        assert isinstance(which, click.Group)
        which = which.commands[word]
    unexplained = [
        each.name for each in which.params if isinstance(each, click.Option) and not each.help
    ]
    assert unexplained == []
    if isinstance(which, click.Group):
        # The first sentence of each stands beside its name, whole.
        assert "..." not in help_.split("Commands:")[1]
    else:
        assert f"billing-server {' '.join(words)}" in help_.split("Example", 1)[1]


def test_a_wrong_word_is_told_under_the_name_of_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server", "nonsense"],
        capture_output=True,
        text=True,
        env={**os.environ, "BILLING_VAR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert "'billing-server --help'" in done.stderr


FORGED = "bob  root  keys.add  key1\n2030-01-01T00:00:00Z  alice"


@pytest.mark.parametrize(
    "by",
    [FORGED, "a\x1b[2K", "a\u202eb", "a\x9b1m", "a\rb", "", " ", "x" * 201, "a\u200bb", "\u2800"],
)
def test_who_asks_is_one_printable_line(command: Command, by: str) -> None:
    assert "--by" in refused(command("resellers", "add", "A reseller", "--by", by, code=1))
    assert audit(command) == []


def test_what_was_stored_before_forges_no_rows(command: Command, var: Path) -> None:
    command("resellers", "add", "A reseller", "--id", "horns")
    evil = FORGED + "\x1b[1A\x9b2K\u202e\U000e0001"
    with sqlite3.connect(var / "billing.db") as database:
        database.execute("UPDATE audit_records SET actor = ?", (evil,))
        database.execute("UPDATE resellers SET name = ?", (evil,))
    database.close()
    for words in (("audit", "list"), ("resellers", "list")):
        table = command(*words).stdout
        assert len(table.splitlines()) == 2
        assert all(char.isprintable() for line in table.splitlines() for char in line)
        assert "bob  root  keys.add  key1\\n2030" in table
        lines = command(*words, "--json").stdout
        assert all(char.isprintable() or char == "\n" for char in lines)
        (record,) = json.loads(lines)
        assert evil in record.values()


def test_the_audit_keeps_the_os_user_beside_the_name(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    command("resellers", "add", "One", "--by", "on call, ticket 17")
    monkeypatch.setenv("SUDO_USER", "alice")
    command("resellers", "add", "Two")
    for forged in ("a\nb", "x" * 65):
        monkeypatch.setenv("SUDO_USER", forged)
        command("resellers", "add", "Three")
    found = [(each["by"], each["os_user"]) for each in reversed(listed(command, "audit", "list"))]
    assert found == [
        ("on call, ticket 17", USER),
        (USER, f"{USER} (sudo by alice)"),
        (USER, USER),
        (USER, USER),
    ]


@pytest.mark.parametrize("subject", [" ", "some one", "\u2800", "some\tone", "x" * 256])
def test_roles_are_granted_to_subjects_that_can_exist(command: Command, subject: str) -> None:
    command("resellers", "add", "A reseller", "--id", "horns")
    assert "without blanks" in refused(command("roles", "grant", subject, EDITOR, "horns", code=1))
    assert listed(command, "roles", "list") == []


def test_an_account_takes_no_outside_subjects_roles(command: Command) -> None:
    command("resellers", "add", "A reseller", "--id", "horns")
    command("roles", "grant", "someone", EDITOR, "horns")
    line = refused(command("service-accounts", "add", "Nightly", "--id", "someone", code=1))
    assert "choose another ID" in line
    command("service-accounts", "add", "Nightly", "--id", "nightly")
    granted = command("roles", "grant", "nightly", EDITOR, "horns").stdout
    assert "to service account nightly" in granted


@pytest.mark.parametrize(
    "name", ["\u3164", "\u2800", "Horns\u202e and Hooves", "Horns\u200b", "a\nb"]
)
def test_names_follow_the_rule_that_callers_texts_do(command: Command, name: str) -> None:
    assert "a name is" in refused(command("resellers", "add", name, code=1))


def test_names_in_any_script_are_kept(command: Command) -> None:
    for name in ("ООО\u00a0«Ромашка»", "فروشگاه کتاب‌ها"):
        command("resellers", "add", name)
        assert name in {each["name"] for each in listed(command, "resellers", "list")}
