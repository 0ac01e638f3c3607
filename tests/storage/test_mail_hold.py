"""E-mails that an operator holds, on SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta

from server.storage.storage import SqlStorage
from tests.storage.records import DAY, LEASE, START, invited
from tests.storage.stored_invitation import MINUTE


async def test_what_is_held_waits_and_goes_out_afterwards(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    operator = storage.administration
    await invited(storage)
    (under_way,) = await storage.mail.claim_deliveries(10, START, LEASE)
    assert await operator.hold_mail(START + MINUTE, "ann")
    assert not await operator.hold_mail(START + MINUTE, "ann")
    assert (await storage.backlog.read_backlog()).mail_held_since == START + MINUTE
    # What is on its way ends; nothing else begins, in no process.
    assert await storage.mail.finish_delivery(under_way, START)
    waiting = await invited(storage)
    for process in (storage, other_process):
        assert await process.mail.claim_deliveries(10, START + DAY, LEASE) == []
    # Whoever waits is not told that there is work, until there is.
    woken = asyncio.create_task(
        other_process.mail.wait_for_work(START + DAY, timedelta(seconds=20))
    )
    await asyncio.sleep(0)
    assert not woken.done()
    assert await operator.resume_mail(START + DAY, "ann")
    assert not await operator.resume_mail(START + DAY, "ann")
    assert (await storage.backlog.read_backlog()).mail_held_since is None
    async with asyncio.timeout(10):
        await woken
    (delivery,) = await other_process.mail.claim_deliveries(10, START + DAY, LEASE)
    assert delivery.operation_id == waiting.id
    audit = await operator.list_audit_records(2)
    assert [(entry.actor, entry.action) for entry in audit] == [
        ("ann", "mail.resume"),
        ("ann", "mail.hold"),
    ]
