"""Changing, deleting and purging customers, alone and two at once, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from server.domain.customer_changes import CustomerChanges, etag
from server.domain.customers import Customer, CustomerList, CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitation_options import DeliveryMethod, InvitationOptions
from server.domain.invitations import InvitationList, InvitationState, invite
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, DAY, LEASE, RESELLER, START, key, records
from tests.storage.stored_invitation import LAPSES_AT, recorded, sent
from tests.storage.test_customers import new_customer

LATER = START + timedelta(seconds=1)
Result = Coroutine[Any, Any, Customer | None]


async def create(storage: SqlStorage, external_id: str | None = None) -> Customer:
    made = new_customer()
    made = made._replace(customer=made.customer._replace(external_id=external_id))
    await storage.customers.create_customer(made, None)
    return made.customer


def update(storage: SqlStorage, customer: Customer, version: str = "", **changes: Any) -> Result:
    return storage.customers.update_customer(
        *(RESELLER, customer.id, CustomerChanges(**changes), version, LATER, ACTOR, None)
    )


def delete(storage: SqlStorage, customer: Customer, version: str = "", **more: Any) -> Result:
    given = {"key": None, "now": LATER} | more
    return storage.customers.delete_customer(
        RESELLER, customer.id, version, given.pop("now"), ACTOR, **given
    )


def undelete(storage: SqlStorage, customer: Customer) -> Result:
    return storage.customers.undelete_customer(RESELLER, customer.id, "", LATER, ACTOR, None)


def reasons(outcomes: list[Any]) -> list[str]:
    """Returns why calls were refused, "" for those that were not."""
    return [each.reason if isinstance(each, BillingError) else "" for each in outcomes]


async def consistent(database_url: str) -> bool:
    found = await asyncio.to_thread(check, database_url)
    return [each for each in found if each.count] == []


async def test_a_customer_is_changed_deleted_taken_back_and_purged(
    storage: SqlStorage, database_url: str
) -> None:
    made = await create(storage, "A-1")
    labels = {"tier": "gold", "région": "été"}
    changed = await update(storage, made, etag(made), name="B", labels=labels, external_id="A-2")
    assert changed
    assert (changed.name, changed.labels, changed.external_id) == ("B", labels, "A-2")
    assert await storage.customers.get_customer(made.id) == changed
    deleted = await delete(storage, made, etag(changed), key=key("k"))
    assert deleted and deleted.state is CustomerState.DELETED and deleted.deleted_at
    assert await delete(storage, made) is None
    assert await delete(storage, made, allow_missing=True) == deleted
    back = await undelete(storage, made)
    assert back and back == changed._replace(modified_at=back.modified_at)
    # The key's call was done, whatever has come since.
    assert await delete(storage, made, key=key("k")) == back
    await delete(storage, made, now=START + DAY)
    purged = storage.retention.purge_customers
    assert await purged(START + 31 * DAY - timedelta(seconds=1), 10) == 0
    assert await purged(START + 31 * DAY + timedelta(seconds=1), 10) == 1
    assert await storage.customers.get_customer(made.id) is None
    everything = CustomerList(RESELLER, show_deleted=True)
    assert (await storage.customers.list_customers(everything, 10, None)).rows == []
    assert await consistent(database_url)


async def test_an_invitation_shows_that_its_customer_is_deleted(
    storage: SqlStorage, database_url: str
) -> None:
    made = invite(
        reseller_id=RESELLER,
        name="N",
        email="a@example.com",
        person={},
        actor=ACTOR,
        now=START,
        lifetime=DAY,
        options=InvitationOptions(method=DeliveryMethod.LINK),
    )
    await storage.invitations.create_invitation(made, None)
    await delete(storage, made.customer)
    found = await storage.invitations.get_invitation(made.invitation.id)
    assert found
    shown = (found.state, found.customer_state)
    assert shown == (InvitationState.REVOKED, CustomerState.DELETED)
    rows = (
        await storage.invitations.list_invitations(InvitationList(RESELLER), LATER, 10, None)
    ).rows
    assert records(rows) == [found]
    await undelete(storage, made.customer)
    found = await storage.invitations.get_invitation(made.invitation.id)
    assert found and found.customer_state is CustomerState.INACTIVE
    assert await consistent(database_url)


async def test_an_e_mail_that_waited_to_be_tried_again_ends_with_its_customer(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage)
    await storage.mail.retry_delivery(await stored.claim(), START + DAY, START)
    await delete(storage, stored.made.customer)
    assert await storage.mail.claim_deliveries(10, LATER, LEASE) == []
    failure = (await stored.operation()).failure
    assert failure and failure.reason is Reason.INVITATION_STATE
    assert await consistent(database_url)


async def test_a_purge_takes_links_and_reminders_along(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await sent(storage)
    for now, found in ((START, 0), (LAPSES_AT - DAY, 1)):
        assert await storage.retention.remind_invitees(now, (1,), 10) == found
    await delete(storage, stored.made.customer, now=LAPSES_AT - DAY)
    kept = "SELECT (SELECT count(*) FROM link_tokens), (SELECT count(*) FROM reminders)"
    assert query(database_url, kept) == [(1, 1)]
    assert await storage.retention.purge_customers(LAPSES_AT + 30 * DAY, 10) == 1
    assert query(database_url, kept) == [(0, 0)]
    assert await consistent(database_url)


async def test_a_change_comes_after_the_expiry_that_it_records(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await sent(storage)
    customer_id, changes = stored.made.customer.id, CustomerChanges(person={"tin": "7707083893"})
    changed = await storage.customers.update_customer(
        *(RESELLER, customer_id, changes, "", LAPSES_AT + DAY, ACTOR, None)
    )
    assert changed and changed.state is CustomerState.INACTIVE
    assert changed.modified_at == LAPSES_AT + DAY + timedelta(microseconds=1)
    assert await storage.customers.get_customer(customer_id) == changed
    assert await consistent(database_url)


async def test_of_two_new_customers_with_one_external_id_the_later_names_the_first(
    overlap: Overlap,
) -> None:
    one, other = (
        made._replace(customer=made.customer._replace(external_id="A-1"))
        for made in (new_customer(), new_customer())
    )
    outcome = await overlap.run(
        overlap.first.customers.create_customer(one, None),
        overlap.second.customers.create_customer(other, None),
    )
    assert outcome.waited
    assert outcome.first == one.operation
    assert outcome.second.reason is Reason.EXTERNAL_ID_TAKEN
    assert outcome.second.metadata["customerId"] == one.customer.id


@pytest.mark.parametrize("second", ["create", "undelete"])
async def test_an_external_id_that_an_update_takes_is_taken_for_all_others(
    storage: SqlStorage, overlap: Overlap, second: str
) -> None:
    holder, gone = await create(storage), await create(storage, "A-1")
    await delete(storage, gone)
    new = new_customer()
    new = new._replace(customer=new.customer._replace(external_id="A-1"))
    outcome = await overlap.run(
        update(overlap.first, holder, external_id="A-1"),
        overlap.second.customers.create_customer(new, None)
        if second == "create"
        else undelete(overlap.second, gone),
    )
    assert outcome.waited
    assert outcome.first.external_id == "A-1"
    assert outcome.second.reason is Reason.EXTERNAL_ID_TAKEN
    assert outcome.second.metadata["customerId"] == holder.id


async def test_of_two_updates_with_one_etag_one_counts(
    storage: SqlStorage, overlap: Overlap
) -> None:
    made = await create(storage)
    outcome = await overlap.run(
        update(overlap.first, made, etag(made), name="B"),
        update(overlap.second, made, etag(made), name="C"),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.ETAG_STALE
    found = await storage.customers.get_customer(made.id)
    assert found == outcome.first
    assert outcome.second.metadata["etag"] == etag(outcome.first)


async def test_in_one_batch_one_etag_and_one_external_id_count_once(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    made, other = await create(storage), await create(storage)
    outcomes = await overlap.in_one_batch(
        *(update(overlap.second, made, etag(made), name=name) for name in "BC"),
        *(update(overlap.second, each, external_id="A-1") for each in (made, other)),
    )
    assert reasons(outcomes) == ["", Reason.ETAG_STALE, "", Reason.EXTERNAL_ID_TAKEN]
    assert await consistent(database_url)


async def test_a_deletion_and_an_update_at_once_are_one_after_the_other(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    made = await create(storage, "A-1")
    outcome = await overlap.run(delete(overlap.first, made), update(overlap.second, made, name="B"))
    assert outcome.waited
    assert outcome.first.state is CustomerState.DELETED
    assert outcome.second.reason is Reason.CUSTOMER_STATE
    processes = (overlap.first, overlap.second)
    twice = await asyncio.gather(
        *(undelete(each, made) for each in processes), return_exceptions=True
    )
    assert sorted(reasons(twice)) == ["", Reason.CUSTOMER_NOT_DELETED]
    assert await consistent(database_url)
