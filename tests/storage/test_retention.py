"""What is old is cleared, and nothing that anybody still asks for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import psycopg
import pytest

from server.domain.access import Actor, VerifiedToken
from server.domain.customers import create_reseller_served, finished_operation
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationAction, InvitationState, link_token_hash, resend
from server.domain.operations import CANCELLED, Operation, OperationKind
from server.storage.check import check
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    KEY_LIFETIME,
    NOT_DONE,
    RESELLER,
    START,
    claimed,
    invited,
    key,
    new,
    records,
)

MOMENT = timedelta(microseconds=1)
# For how long keys that are unknown already are kept, since clocks differ.
GRACE = timedelta(hours=1)
LATER = START + 100 * DAY


@pytest.fixture(autouse=True)
async def sound(storage: SqlStorage, database_url: str) -> AsyncIterator[None]:
    """Whatever a test clears, the database is consistent."""
    yield
    assert [found for found in check(database_url) if found.count] == []


async def _sent(storage: SqlStorage) -> Delivery:
    """Records an invitation and that its e-mail has gone out."""
    await invited(storage)
    delivery = await claimed(storage)
    assert await storage.mail.finish_delivery(delivery, START)
    return delivery


async def _created(
    storage: SqlStorage, name: str | None = None, now: datetime = START
) -> Operation:
    """Records a reseller-served customer, by a key of this name if there is one."""
    made = create_reseller_served(
        reseller_id=RESELLER, name="Customer", person={}, actor=Actor("subject-1"), now=now
    )
    return await storage.customers.create_customer(made, key(name) if name else None)


async def test_operations_are_cleared_once_they_ended_long_enough_ago(storage: SqlStorage) -> None:
    delivery = await _sent(storage)
    operation = await storage.operations.get_operation(delivery.operation_id)
    assert operation
    assert await storage.retention.clear_operations(START, 10) == 0
    assert await storage.operations.get_operation(operation.id) == operation
    assert await storage.retention.clear_operations(START + MOMENT, 10) == 1
    assert await storage.operations.get_operation(operation.id) is None
    assert (await storage.operations.list_operations([RESELLER], None, 10, None)).rows == []
    assert await storage.customers.get_customer(operation.customer_id)


async def test_what_is_not_done_stays_however_old(storage: SqlStorage) -> None:
    await invited(storage)
    await claimed(storage)
    await invited(storage)
    assert await storage.retention.clear_operations(LATER, 10) == 0
    assert len((await storage.operations.list_operations([RESELLER], NOT_DONE, 10, None)).rows) == 2


async def test_failed_and_deleted_operations_are_cleared_too(
    storage: SqlStorage, database_url: str
) -> None:
    await invited(storage)
    await storage.mail.fail_delivery(await claimed(storage), CANCELLED, START)
    created = await _created(storage)
    assert await storage.operations.delete_operation(created.id, START, None)
    assert await storage.retention.clear_operations(LATER, 10) == 2
    assert query(database_url, "SELECT count(*) FROM operations") == [(0,)]


async def test_the_oldest_are_cleared_first_and_no_more_than_asked_for(
    storage: SqlStorage,
) -> None:
    third, first, second = [await _created(storage, now=START + n * DAY) for n in (3, 1, 2)]
    assert await storage.retention.clear_operations(LATER, 2) == 2
    assert records((await storage.operations.list_operations([RESELLER], None, 10, None)).rows) == [
        third
    ]
    assert [await storage.operations.get_operation(each.id) for each in (first, second)] == [
        None,
        None,
    ]


async def test_an_operation_stays_while_the_key_that_made_it_does(storage: SqlStorage) -> None:
    operation = await _created(storage, "made it")
    assert await storage.retention.clear_operations(LATER, 10) == 0
    assert await _created(storage, "made it") == operation
    known_until = START + KEY_LIFETIME
    assert await storage.retention.clear_idempotency_keys(known_until + GRACE, 10) == 0
    assert await storage.retention.clear_idempotency_keys(known_until + GRACE + MOMENT, 10) == 1
    assert await storage.retention.clear_operations(LATER, 10) == 1


@pytest.mark.parametrize("request_", ["cancel", "delete"])
async def test_an_operation_stays_for_the_keys_that_came_after_it(
    storage: SqlStorage, request_: str
) -> None:
    operation = await _created(storage)
    late = START + 30 * DAY
    for _ in range(2):  # the second time it is the key that answers
        if request_ == "cancel":
            assert (
                await storage.operations.cancel_operation(operation.id, late, ACTOR, key("late"))
                == operation
            )
        else:
            assert await storage.operations.delete_operation(operation.id, late, key("late"))
        assert await storage.retention.clear_operations(late + 30 * DAY, 10) == 0
    assert (
        await storage.retention.clear_idempotency_keys(late + KEY_LIFETIME + GRACE + MOMENT, 10)
        == 1
    )
    assert await storage.retention.clear_operations(late + 30 * DAY, 10) == 1


async def test_an_older_key_keeps_later_operations_but_not_earlier_ones(
    storage: SqlStorage,
) -> None:
    earlier = await _created(storage)
    customer = await storage.customers.get_customer(earlier.customer_id)
    assert customer
    for days in (1, 2):
        suspended = finished_operation(
            OperationKind.SUSPEND, customer, "subject-1", START + days * DAY
        )
        await storage.customers.change_customer_state(suspended, ACTOR, key(f"day {days}"))
    assert await storage.retention.clear_operations(LATER, 10) == 1
    assert await storage.operations.get_operation(earlier.id) is None
    assert len((await storage.operations.list_operations([RESELLER], None, 10, None)).rows) == 2


async def test_the_number_of_a_cleared_operation_is_given_to_no_other(
    storage: SqlStorage, database_url: str
) -> None:
    """An invitation may still name it as the one that sent its latest e-mail."""
    delivery = await _sent(storage)
    invitation = await storage.invitations.get_invitation(delivery.invitation_id)
    assert invitation
    customer = await storage.customers.get_customer(invitation.customer_id)
    assert customer
    again = resend(customer, resent_by="subject-1", now=START)
    until = START + INVITATION_LIFETIME
    await storage.invitations.resend_invitation(invitation.id, again, until, DAY, ACTOR, None)
    assert await storage.mail.finish_delivery(await claimed(storage), START)
    assert await storage.retention.clear_operations(START + MOMENT, 10) == 2
    ((latest,),) = query(database_url, "SELECT latest FROM customers")
    other = await invited(storage)
    numbers = query(database_url, "SELECT n FROM operations")
    assert numbers > [(latest,)]
    revoked = await storage.invitations.revoke_invitation(invitation.id, START + DAY, ACTOR, None)
    assert revoked
    assert (await claimed(storage)).operation_id == other.id


async def test_keys_that_are_cleared_can_come_again(storage: SqlStorage) -> None:
    first = await storage.invitations.create_invitation(new(), key("again"))
    gone = START + KEY_LIFETIME + GRACE + MOMENT
    assert await storage.retention.clear_idempotency_keys(gone, 10) == 1
    second = await storage.invitations.create_invitation(
        new(now=gone), key("again", "another request")
    )
    assert second.id != first.id


async def test_a_pending_invitation_can_be_sent_again_when_its_operation_is_cleared(
    storage: SqlStorage,
) -> None:
    delivery = await _sent(storage)
    invitation = await storage.invitations.get_invitation(delivery.invitation_id)
    assert invitation
    assert await storage.retention.clear_operations(START + MOMENT, 10) == 1
    assert await storage.retention.clear_links(LATER, 10) == 0
    assert await storage.invitations.look_up_invitation(link_token_hash(delivery.link_token))
    customer = await storage.customers.get_customer(invitation.customer_id)
    assert customer
    again = resend(customer, resent_by="subject-1", now=START + DAY)
    until = START + INVITATION_LIFETIME
    assert (
        await storage.invitations.resend_invitation(invitation.id, again, until, DAY, ACTOR, None)
        == again
    )
    assert (await claimed(storage, START + DAY)).operation_id == again.id


async def test_links_are_cleared_some_time_after_the_invitation_ended(
    storage: SqlStorage, database_url: str
) -> None:
    delivery = await _sent(storage)
    link = link_token_hash(delivery.link_token)
    accepted = await storage.invitations.answer_invitation(
        link, InvitationAction.ACCEPT, START + DAY, ACTOR, None
    )
    assert accepted
    assert await storage.retention.clear_links(START + DAY, 10) == 0
    found = await storage.invitations.look_up_invitation(link)
    assert found
    assert found.invitation.state is InvitationState.ACCEPTED
    assert await storage.retention.clear_links(START + DAY + MOMENT, 10) == 1
    assert await storage.invitations.look_up_invitation(link) is None
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(0,)]
    assert await storage.retention.clear_links(LATER, 10) == 0


async def test_revocations_are_cleared_when_the_tokens_have_expired_by_every_clock(
    storage: SqlStorage,
) -> None:
    await storage.access.revoke_token(VerifiedToken(b"revoked", "subject-1", None, START))
    assert await storage.retention.clear_revoked_tokens(START + GRACE, 10) == 0
    assert await storage.retention.clear_revoked_tokens(START + GRACE + MOMENT, 10) == 1


async def test_processes_that_clear_at_once_share_the_work_while_calls_go_on(
    storage: SqlStorage, other_process: SqlStorage, database_url: str
) -> None:
    await asyncio.gather(*(_created(storage, f"old {number}") for number in range(300)))

    async def clear(one: SqlStorage) -> int:
        total = 0
        while cleared := (
            await one.retention.clear_idempotency_keys(LATER, 20)
            + await one.retention.clear_operations(LATER, 20)
        ):
            total += cleared
        return total

    async def invite(one: SqlStorage) -> None:
        for number in range(30):
            made = new(now=LATER)
            assert await one.invitations.create_invitation(
                made, key(f"new {number} {id(one)}")
            ) == (made.operation)

    both = (storage, other_process)
    await asyncio.gather(*map(invite, both), *(clear(each) for each in both for _ in range(2)))
    assert await clear(storage) == 0
    counts = "SELECT count(*) FROM operations UNION ALL SELECT count(key) FROM operations"
    assert query(database_url, counts) == [(60,), (60,)]


@on_postgresql
async def test_rows_that_another_transaction_holds_are_left_for_the_next_time(
    storage: SqlStorage, database_url: str
) -> None:
    held = await _created(storage)
    other = await _created(storage)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT 1 FROM operations o JOIN customers c ON c.n = o.n WHERE c.id = %s "
            "FOR UPDATE OF o",
            [held.customer_id],
        )
        assert await storage.retention.clear_operations(LATER, 10) == 1
        assert await storage.operations.get_operation(other.id) is None
    assert await storage.retention.clear_operations(LATER, 10) == 1


async def test_a_batch_that_is_cleared_refuses_no_call_in_the_same_transaction(
    storage: SqlStorage,
) -> None:
    """A sweep and calls that arrive together share a transaction, each with its own outcome."""
    await _created(storage)
    first = await invited(storage)
    outcomes = await asyncio.gather(
        storage.retention.clear_operations(LATER, 10),
        storage.invitations.create_invitation(new(), None),
        storage.operations.delete_operation(first.id, START, None),
        return_exceptions=True,
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], Operation)
    assert isinstance(outcomes[2], BillingError)
    assert outcomes[2].reason is Reason.OPERATION_RUNNING
