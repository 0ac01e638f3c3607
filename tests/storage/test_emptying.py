"""Emptying a reseller, as the sandbox does."""

import inspect
import re

from server.storage import emptying
from server.storage.check import check
from server.storage.schema.tables import metadata
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import ACTOR, DAY, RESELLER, SECOND_RESELLER, START, key, new

# Tables whose rows are of no reseller, or stay while there is one.
KEPT = {
    *("access_tokens", "account_keys", "audit_records", "log_marks", "resellers"),
    *("revoked_tokens", "role_bindings", "service_accounts"),
}


def test_each_table_is_emptied_or_kept() -> None:
    emptied = {
        name
        for name in metadata.tables
        if re.search(rf"\b{name}\b", inspect.getsource(emptying).partition("_RESELLER = ")[2])
    }
    assert emptied == metadata.tables.keys() - KEPT


async def test_nothing_of_it_is_left_and_nothing_of_others_goes(
    storage: SqlStorage, database_url: str
) -> None:
    made = {}
    for reseller in (RESELLER, SECOND_RESELLER):
        made[reseller] = await storage.invitations.create_invitation(
            new("one@example.com", reseller_id=reseller), key(reseller)
        )
        await storage.customers.delete_customer(
            reseller, made[reseller].customer_id, "", START + DAY, ACTOR, key(f"delete {reseller}")
        )
    query(
        database_url,
        "INSERT INTO reminders (n, days, requested_at, due_at) SELECT n, 1, 1, 1 FROM customers",
    )
    await storage.emptying.empty_reseller(RESELLER)
    assert query(database_url, "SELECT count(*) FROM reminders") == [(1,)]

    async def left(reseller: str) -> list[int]:
        return [
            len((await storage.operations.list_operations([reseller], None, 10, None)).rows),
            len((await storage.events.list_events(reseller, 0, None, 10)).events),
        ]

    assert await left(RESELLER) == [0, 0]
    assert await left(SECOND_RESELLER) == [1, 3]
    assert await storage.operations.get_operation(made[RESELLER].id) is None
    assert [finding for finding in check(database_url) if finding.count] == []
    # The same keys stand for what is asked for now.
    again = await storage.invitations.create_invitation(
        new("one@example.com", now=START + 2 * DAY), key(RESELLER)
    )
    assert again.id != made[RESELLER].id
    assert [finding for finding in check(database_url) if finding.count] == []


async def test_numbers_of_what_was_emptied_are_given_to_no_other(
    storage: SqlStorage, database_url: str
) -> None:
    async def made() -> int:
        await storage.invitations.create_invitation(new(), None)
        ((number,),) = query(database_url, "SELECT max(n) FROM operations")
        return int(number)

    before = await made()
    await storage.emptying.empty_reseller(RESELLER)
    assert await made() > before
