"""Webhooks that fail for days: an e-mail warns, then they are disabled; real SMTP, time that is moved."""

import asyncio
import logging
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import cast

import pytest

from server.storage.interface import AlertKind, DeliveryAttempt, Storage
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from server.worker.mail.addresses import MessageSettingError
from server.worker.mail.alert_messages import AlertMessages
from tests.clock import Clock
from tests.storage.databases import query
from tests.storage.webhooks.records import add_webhook, rows
from tests.storage.webhooks.records import happen as happen_to
from tests.worker.harness import RESELLER_ID, START
from tests.worker.mail_server import PATIENCE_S, MailServer
from tests.worker.webhooks.delivering import Receiver, alerting, delivering
from tests.worker.webhooks.receivers import receiving

DAY = timedelta(days=1)
SECRET_URL = "https://example.com/hook/SECRET-PATH?token=SECRET-QUERY"


def test_templates_of_the_operators_own(tmp_path: Path) -> None:
    def built() -> AlertMessages:
        return AlertMessages("Billing <billing@example.com>", lambda: START, templates=tmp_path)

    folder = tmp_path / "en"
    folder.mkdir()
    template = folder / "alert.txt"
    template.write_text("{{ name }} fails: {{ error }}\n")
    assert built()
    for wrong, problem in (("{{ nothing }}", "'nothing' is undefined"), ("{% if %}", "line 1")):
        template.write_text(wrong)
        with pytest.raises(MessageSettingError, match=problem):
            built()


@pytest.fixture
def sql(storage: Storage) -> SqlStorage:
    return cast("SqlStorage", storage)


async def failing(
    sql: SqlStorage, clock: Clock, url: str = SECRET_URL, email: str | None = "it@example.com"
) -> None:
    """Adds a webhook at which all tries of the last days have failed."""
    await add_webhook(sql, "whk1", url, reseller_id=RESELLER_ID, alert_email=email, now=START)
    await fail_once(sql, clock)


async def fail_once(sql: SqlStorage, clock: Clock) -> None:
    await happen_to(sql, 0, reseller_id=RESELLER_ID, now=clock())
    await sql.deliveries._look(clock())
    lease = timedelta(seconds=30)
    claimed = await sql.deliveries.claim_webhook_deliveries(9, clock(), lease)
    for each in claimed:
        attempt = DeliveryAttempt(clock(), timedelta(), None, "the connection was refused")
        await sql.deliveries.retry_webhook_delivery(each, attempt, clock() + 9 * DAY)


async def until_rows(database: str, where: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while query(database, f"SELECT count(*) FROM webhooks WHERE {where}") == [(0,)]:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def test_a_warning_comes_a_day_before_and_then_the_end(
    sql: SqlStorage,
    database: str,
    clock: Clock,
    mail_server: MailServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await failing(sql, clock)
    query(database, "UPDATE webhooks SET description = 'Warehouse'")
    async with alerting(sql, clock, mail_server):
        clock.advance(4 * DAY - timedelta(seconds=1))
        await fail_once(sql, clock)
        await asyncio.sleep(0.1)  # nothing tells that nothing comes
        assert mail_server.received == []
        clock.advance(timedelta(seconds=1))
        await until_rows(database, "alert = 'disabling'")
        clock.advance(DAY)
        await fail_once(sql, clock)
        await until_rows(database, "NOT enabled AND alert IS NULL")
    warning, end = (each.message for each in mail_server.received)
    assert warning["To"] == end["To"] == "it@example.com"
    assert warning["Subject"] == "Webhook whk1 will be disabled in a day"
    assert end["Subject"] == "Webhook whk1 is disabled"
    for message in (warning, end):
        for kind in ("plain", "html"):
            part = message.get_body((kind,))
            assert part is not None
            text = unescape(part.get_content())
            assert f"resellers/{RESELLER_ID}/webhooks/whk1" in text
            assert "the connection was refused" in text
            assert "Warehouse" in text
            assert "example.com" in text
            assert "SECRET" not in text
            assert "отключ" in text
    assert query(database, "SELECT disable_reason, revision FROM webhooks") == [
        ("No delivery has succeeded for five days.", 2)
    ]
    assert query(database, "SELECT type, subject FROM events ORDER BY number DESC LIMIT 1") == [
        (17, "service")
    ]
    assert {row[0] for row in rows(database, "deliveries", "due_at")} == {None}
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"resellers/{RESELLER_ID}/webhooks/whk1 is disabled" in line.getMessage()
    assert "SECRET" not in caplog.text
    assert "it@example.com" not in caplog.text


async def test_success_calls_it_off(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    receiver = Receiver()
    async with receiving(receiver.take) as url, alerting(sql, clock, mail_server):
        await failing(sql, clock, url)
        clock.advance(4 * DAY)
        await until_rows(database, "alert = 'disabling'")
        await happen_to(sql, 5, reseller_id=RESELLER_ID, now=clock())
        async with delivering(sql, clock):
            await until_rows(database, "alert IS NULL AND failing_since IS NULL")
        clock.advance(5 * DAY)
        await asyncio.sleep(0.1)  # nothing tells that nothing comes
    assert len(mail_server.received) == 1
    assert rows(database, "webhooks", "enabled", "due_at") == [(1, None)]


async def test_nobody_is_disabled_while_nothing_was_tried(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    """After the service stood still for days."""
    await failing(sql, clock, email=None)
    clock.advance(9 * DAY)
    async with alerting(sql, clock, mail_server):
        await until_rows(database, f"alert = 'disabling' AND due_at > {micros(clock())}")
        await fail_once(sql, clock)
        clock.advance(timedelta(hours=1))
        await until_rows(database, "NOT enabled AND alert IS NULL")
    assert mail_server.received == []


async def test_who_has_got_all_that_it_wants_is_neither_warned_nor_disabled(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    """Its last event was given up; what has come since it does not want."""
    await failing(sql, clock)
    query(database, "DELETE FROM deliveries")
    query(database, "UPDATE webhooks SET types = '[\"invitation.declined\"]'")
    await happen_to(sql, 5, reseller_id=RESELLER_ID, now=clock())
    clock.advance(4 * DAY)
    async with alerting(sql, clock, mail_server):
        await until_rows(database, "failing_since IS NULL AND alert IS NULL AND enabled")
    assert mail_server.received == []


async def test_who_has_never_answered_its_test_is_disabled(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    """Its test was given up after three days; as long as there is one, it is to be tried."""
    await add_webhook(
        *(sql, "whk1", SECRET_URL),
        reseller_id=RESELLER_ID,
        verified=False,
        alert_email="it@example.com",
        now=START,
    )
    await fail_once(sql, clock)
    clock.advance(4 * DAY)
    async with alerting(sql, clock, mail_server):
        await until_rows(database, "alert = 'disabling'")
        clock.advance(DAY)
        await until_rows(database, f"due_at > {micros(clock())}")
        query(database, "DELETE FROM deliveries")
        clock.advance(timedelta(hours=1))
        await until_rows(database, "NOT enabled AND alert IS NULL")
    assert len(mail_server.received) == 2


async def test_an_alert_that_the_mail_server_does_not_take_is_tried_again(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    mail_server.replies["RCPT"] = ["451 later"]
    await failing(sql, clock)
    clock.advance(4 * DAY)
    async with alerting(sql, clock, mail_server):
        await until_rows(database, "deferral IS NOT NULL")
        clock.advance(timedelta(seconds=2))
        await until_rows(database, "alert = 'disabling'")
    assert len(mail_server.received) == 1


async def test_an_address_that_is_refused_for_good_is_not_tried_again(
    sql: SqlStorage, database: str, clock: Clock, mail_server: MailServer
) -> None:
    mail_server.replies["RCPT"] = ["550 5.1.1 nobody"]
    await failing(sql, clock)
    clock.advance(4 * DAY)
    async with alerting(sql, clock, mail_server):
        await until_rows(database, "alert = 'disabling'")
    assert mail_server.received == []


async def test_a_held_reseller_is_told_once_it_is_resumed(sql: SqlStorage, clock: Clock) -> None:
    async def claimed() -> list[str]:
        found = await sql.alerts.claim_webhook_alerts(9, clock(), timedelta(seconds=30))
        for each in found:
            await sql.alerts.retry_webhook_alert(each, clock())
        return [each.kind for each in found]

    await failing(sql, clock)
    clock.advance(4 * DAY)
    await fail_once(sql, clock)
    (warning,) = await sql.alerts.claim_webhook_alerts(9, clock(), timedelta(seconds=30))
    assert await sql.alerts.finish_webhook_alert(warning, clock())
    clock.advance(DAY)
    await fail_once(sql, clock)
    assert await claimed() == [AlertKind.DISABLED]
    await sql.administration.suspend_reseller(RESELLER_ID, clock())
    assert await claimed() == []
    await sql.administration.resume_reseller(RESELLER_ID, clock())
    clock.advance(timedelta(hours=1))
    assert await claimed() == [AlertKind.DISABLED]
