"""`mail status` says what waits for the mail server, and why."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.domain.operations import Deferral
from server.sandbox.clock import clock_of
from server.sandbox.development import run_file
from server.settings_sources import read_settings
from tests.admin.conftest import Command
from tests.storage.records import RESELLER, claimed, invited, opened

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=90)
LATER = BEGAN + timedelta(minutes=30)
AWAY = "the mail server can't be reached"


async def an_outage() -> None:
    """Leaves an e-mail that is new, and two that have failed for different reasons."""
    async with opened(read_settings().database) as storage:
        await storage.administration.add_reseller(RESELLER, "A reseller", BEGAN)
        for at, problem in ((BEGAN, "the mail server said 451 4.3.0"), (LATER, AWAY)):
            await invited(storage, at)
            delivery = await claimed(storage, at)
            again_at = at + timedelta(days=1)
            await storage.mail.retry_delivery(
                delivery, again_at, at, Deferral(1, problem, again_at)
            )
        await invited(storage, LATER)


def test_without_e_mails_that_wait_it_says_so(command: Command) -> None:
    told = command("mail", "status").stdout
    assert told == "waiting:    0 e-mails, 0 of them tried before\nfor:        127.0.0.1:1025\n"


def test_beside_a_run_with_other_ports_it_names_the_server_in_use(
    var: Path, command: Command
) -> None:
    run_file(var).write_text('{"smtp": "smtp://127.0.0.1:31025"}')
    assert "for:        127.0.0.1:31025\n" in command("mail", "status").stdout
    assert json.loads(command("mail", "status", "--json").stdout)["servers"] == ["127.0.0.1:31025"]
    run_file(var).write_text("{")
    assert "for:        127.0.0.1:1025\n" in command("mail", "status").stdout


def test_an_outage_is_told(var: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_SMTP_URL", "smtps://user:secret@mail.example.com")
    asyncio.run(an_outage())
    told = command("mail", "status").stdout
    assert "waiting:    3 e-mails, 2 of them tried before\n" in told
    # The tests before this one may have taken a while.
    assert re.search(
        f"^since:      {BEGAN:%Y-%m-%dT%H:%M:%SZ}, (9|1\\d)\\d min$", told, re.MULTILINE
    )
    assert "for:        mail.example.com:465\n" in told
    assert f"last error: {AWAY}, at {LATER:%Y-%m-%dT%H:%M:%SZ}\n" in told
    assert "        1  the mail server said 451 4.3.0\n" in told
    assert "secret" not in told
    found = json.loads(command("mail", "status", "--json").stdout)
    assert (found["waiting"], found["retried"], found["lastError"]) == (3, 2, AWAY)
    assert found["servers"] == ["mail.example.com:465"]
    assert found["oldestAt"] == f"{BEGAN:%Y-%m-%dT%H:%M:%SZ}"


def test_beside_a_sandbox_its_clock_is_gone_by(var: Path, command: Command) -> None:
    asyncio.run(an_outage())
    clock_of(var).wind(timedelta(days=3))
    assert re.search(r"^since: .*, 3 days$", command("mail", "status").stdout, re.MULTILINE)
    due = [each["next"] for each in json.loads(command("mail", "queue", "--json").stdout)]
    assert due == ["now", "now", "now"]


def test_a_hold_is_told_by_all_that_show_what_waits(var: Path, command: Command) -> None:
    asyncio.run(an_outage())
    command("mail", "hold")
    told = re.search(
        r"^held:       since (\S+Z); `billing-server mail resume`",
        command("mail", "status").stdout,
        re.MULTILINE,
    )
    assert told
    assert json.loads(command("mail", "status", "--json").stdout)["heldSince"] == told[1]
    for words in (["queue"], ["retry", "--all"]):
        assert f"all e-mails are held since {told[1]}" in command("mail", *words).stderr
    command("mail", "resume")
    assert "held" not in command("mail", "status").stdout
    assert command("mail", "queue").stderr == ""
