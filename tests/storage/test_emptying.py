"""Emptying a reseller, as the sandbox does."""

from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.records import ACTOR, DAY, RESELLER, SECOND_RESELLER, START, key, new


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
    await storage.emptying.empty_reseller(RESELLER)

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
