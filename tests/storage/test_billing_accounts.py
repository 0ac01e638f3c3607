"""Billing accounts of resellers and customers, on SQLite and PostgreSQL."""

from datetime import timedelta

from server.domain.customers import create_reseller_served, finished_operation
from server.domain.operations import OperationKind
from server.storage.interface import Cursor
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import ACTOR, RESELLER, SECOND_RESELLER, START, invited

BOTH = [RESELLER, SECOND_RESELLER]


async def served(storage: SqlStorage, reseller_id: str, name: str) -> str:
    new = create_reseller_served(
        reseller_id=reseller_id, name=name, person={}, actor=ACTOR, now=START
    )
    await storage.customers.create_customer(new, None)
    return new.customer.billing_account_id


async def read_all(storage: SqlStorage, limit: int) -> list[str]:
    found: list[str] = []
    after: Cursor | None = None
    while rows := await storage.billing_accounts.list_billing_accounts(BOTH, limit, after):
        assert len(rows) <= limit
        found += [row.record.id for row in rows]
        after = rows[-1].cursor
    return found


async def test_the_resellers_own_come_first_then_the_customers_newest_first(
    storage: SqlStorage,
) -> None:
    made = [await served(storage, BOTH[number % 2], f"C{number}") for number in range(5)]
    made.append((await invited(storage)).billing_account_id)
    for limit in (1, 2, 3, 100):
        assert await read_all(storage, limit) == [SECOND_RESELLER, RESELLER, *made[::-1]]
    one = await storage.billing_accounts.list_billing_accounts([RESELLER], 10, None)
    assert {row.record.reseller_id for row in one} == {RESELLER}
    assert await storage.billing_accounts.list_billing_accounts([], 10, None) == []


async def test_an_account_is_active_while_its_customer_is(storage: SqlStorage) -> None:
    get = storage.billing_accounts.get_billing_account
    account_id = await served(storage, RESELLER, "A customer")
    account = await get(account_id)
    assert account == (account_id, RESELLER, "A customer", START, True)
    customer = await storage.customers.get_customer("bcu" + account_id[3:])
    assert customer
    for kind, active in ((OperationKind.SUSPEND, False), (OperationKind.ACTIVATE, True)):
        operation = finished_operation(kind, customer, "subject", START)
        await storage.customers.change_customer_state(operation, ACTOR, None)
        assert (await get(account_id)) == (account_id, RESELLER, "A customer", START, active)
    waiting = await get((await invited(storage)).billing_account_id)
    assert waiting
    assert not waiting.active


async def test_a_reseller_has_an_account_with_its_id(storage: SqlStorage) -> None:
    get = storage.billing_accounts.get_billing_account
    assert await get(RESELLER) == (RESELLER, RESELLER, "Reseller", START, True)
    await storage.administration.suspend_reseller(RESELLER, START + timedelta(seconds=1))
    suspended = await get(RESELLER)
    assert suspended
    assert not suspended.active
    for unknown in ("bac00000000000000000", "reseller-3", ""):
        assert await get(unknown) is None


async def test_an_account_of_an_older_customer_keeps_its_id(
    storage: SqlStorage, database_url: str
) -> None:
    derived = await served(storage, RESELLER, "A customer")
    query(database_url, "UPDATE customers SET billing_account_id = 'bac-own'")
    found = await storage.billing_accounts.get_billing_account("bac-own")
    assert found
    assert found.id == "bac-own"
    assert await storage.billing_accounts.get_billing_account(derived) is None
