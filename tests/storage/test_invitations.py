import asyncio
import json

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.operations import CANCELLED
from server.storage.sql import transactions
from server.storage.sql.driver_errors import ErrorClass, classify
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import (
    DAY,
    INVITATION_LIFETIME,
    KEY_LIFETIME,
    SECOND_RESELLER,
    START,
    claimed,
    key,
    new,
    opened,
)

COUNTS = (
    "SELECT (SELECT count(*) FROM operations), "
    "(SELECT count(*) FROM customers WHERE invitation > 0), "
    "(SELECT count(*) FROM operations WHERE key IS NOT NULL), "
    "(SELECT count(*) FROM idempotency_keys)"
)


async def test_all_is_recorded_as_given(storage: SqlStorage, database_url: str) -> None:
    given = new()
    assert await storage.invitations.create_invitation(given, key("k")) == given.operation
    assert await storage.operations.get_operation(given.operation.id) == given.operation
    assert await storage.customers.get_customer(given.customer.id) == given.customer
    assert await storage.invitations.get_invitation(given.invitation.id) == given.invitation
    ((person,),) = query(database_url, "SELECT person FROM customers")
    assert json.loads(person) == given.customer.person
    # The same on an open connection of another process, which knows nothing yet.
    async with opened(database_url) as other:
        assert await other.operations.get_operation(given.operation.id) == given.operation
        assert await other.customers.get_customer(given.customer.id) == given.customer
        assert await other.invitations.get_invitation(given.invitation.id) == given.invitation
    assert query(database_url, COUNTS) == [(1, 1, 1, 0)]


async def test_many_at_once_are_all_recorded(storage: SqlStorage, database_url: str) -> None:
    given = [new() for _ in range(300)]
    recorded = await asyncio.gather(
        *(storage.invitations.create_invitation(each, key(each.operation.id)) for each in given)
    )
    assert recorded == [each.operation for each in given]
    assert query(database_url, COUNTS) == [(300, 300, 300, 0)]


async def test_fifty_at_once_with_one_key_are_one(
    storage: SqlStorage, other_process: SqlStorage, database_url: str
) -> None:
    recorded = await asyncio.gather(
        *(
            each.invitations.create_invitation(new("a@example.com"), key("k"))
            for _ in range(25)
            for each in (storage, other_process)
        )
    )
    assert len({operation.id for operation in recorded}) == 1
    assert query(database_url, COUNTS) == [(1, 1, 1, 0)]


async def test_the_same_keys_in_other_orders_do_not_wait_for_each_other(
    storage: SqlStorage, other_process: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL takes a second to notice that two transactions do."""
    errors: list[str] = []

    def classified(error: Exception) -> ErrorClass:
        errors.append(type(error).__name__)
        return classify(error)

    monkeypatch.setattr(transactions, "classify", classified)
    for number in range(20):
        keys = [f"{number}-{each}" for each in range(100)]
        await asyncio.gather(
            *(
                each.invitations.create_invitation(new(f"{name}@example.com"), key(name))
                for each, names in ((storage, keys), (other_process, reversed(keys)))
                for name in names
            )
        )
    assert "DeadlockDetected" not in errors


async def test_a_repeat_returns_the_operation_as_it_now_is(storage: SqlStorage) -> None:
    first = await storage.invitations.create_invitation(new(), key("k"))
    await storage.mail.finish_delivery(await claimed(storage), START)
    repeated = await storage.invitations.create_invitation(new(), key("k"))
    assert (repeated.id, repeated.done) == (first.id, True)
    await storage.operations.delete_operation(first.id, START, None)
    assert (await storage.invitations.create_invitation(new(), key("k"))).id == first.id


async def test_a_key_is_refused_for_another_request(storage: SqlStorage, database_url: str) -> None:
    await storage.invitations.create_invitation(new(), key("k", "one"))
    with pytest.raises(BillingError) as refused:
        await storage.invitations.create_invitation(new(), key("k", "another"))
    assert refused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert query(database_url, COUNTS) == [(1, 1, 1, 0)]


async def test_of_two_requests_at_once_with_one_key_one_is_refused(storage: SqlStorage) -> None:
    outcomes = await asyncio.gather(
        storage.invitations.create_invitation(new(), key("k", "one")),
        storage.invitations.create_invitation(new(), key("k", "another")),
        return_exceptions=True,
    )
    assert sorted(isinstance(outcome, BillingError) for outcome in outcomes) == [False, True]


async def test_a_key_past_its_lifetime_stands_for_nothing(
    storage: SqlStorage, database_url: str
) -> None:
    first = await storage.invitations.create_invitation(new(), key("k", "one"))
    almost = START + KEY_LIFETIME
    assert (
        await storage.invitations.create_invitation(new(now=almost), key("k", "one"))
    ).id == first.id
    later = new(now=almost + DAY / 1000)
    second = await storage.invitations.create_invitation(later, key("k", "another"))
    assert second == later.operation
    assert query(database_url, COUNTS) == [(2, 2, 1, 0)]


async def test_a_refused_call_leaves_nothing_and_its_key_free(
    storage: SqlStorage, database_url: str
) -> None:
    first = new("a@example.com")
    await storage.invitations.create_invitation(first, None)
    with pytest.raises(BillingError) as refused:
        await storage.invitations.create_invitation(new("A@Example.com"), key("k"))
    assert refused.value.reason is Reason.INVITATION_OPEN
    assert refused.value.metadata == {
        "operationId": first.operation.id,
        "customerId": first.customer.id,
        "invitationId": first.invitation.id,
    }
    assert query(database_url, COUNTS) == [(1, 1, 0, 0)]
    assert await storage.invitations.create_invitation(new("b@example.com"), key("k", "corrected"))


async def test_of_the_same_ones_at_once_one_is_recorded(
    storage: SqlStorage, other_process: SqlStorage, database_url: str
) -> None:
    outcomes = await asyncio.gather(
        *(
            each.invitations.create_invitation(new("a@example.com"), key(f"{number}"))
            for number, each in enumerate([storage, other_process] * 10)
        ),
        return_exceptions=True,
    )
    (recorded,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    for outcome in outcomes:
        if outcome is not recorded:
            assert isinstance(outcome, BillingError)
            assert outcome.reason is Reason.INVITATION_OPEN
            assert outcome.metadata["operationId"] == recorded.id
    assert query(database_url, COUNTS) == [(1, 1, 1, 0)]


async def test_another_tax_number_or_reseller_is_another_invitation(storage: SqlStorage) -> None:
    await storage.invitations.create_invitation(new("a@example.com"), None)
    await storage.invitations.create_invitation(new("a@example.com", tin="7707083893"), None)
    await storage.invitations.create_invitation(
        new("a@example.com", reseller_id=SECOND_RESELLER), None
    )


async def test_a_lapsed_one_is_not_in_the_way(storage: SqlStorage) -> None:
    first = new("a@example.com")
    await storage.invitations.create_invitation(first, None)
    lapses_at = START + INVITATION_LIFETIME
    with pytest.raises(BillingError):
        await storage.invitations.create_invitation(
            new("a@example.com", now=lapses_at - DAY / 1000), None
        )
    await storage.invitations.create_invitation(new("a@example.com", now=lapses_at), None)
    with pytest.raises(BillingError) as refused:
        await storage.invitations.create_invitation(new("a@example.com", now=lapses_at), None)
    assert refused.value.metadata["operationId"] != first.operation.id


async def test_one_that_was_taken_back_is_not_in_the_way(storage: SqlStorage) -> None:
    await storage.invitations.create_invitation(new("a@example.com"), None)
    await storage.mail.fail_delivery(await claimed(storage), CANCELLED, START)
    await storage.invitations.create_invitation(new("a@example.com"), None)


async def test_a_bad_row_fails_alone(storage: SqlStorage, database_url: str) -> None:
    """Nothing that the API lets through looks like these; the neighbours must not pay for a bug."""
    good = [new() for _ in range(5)]
    double = new()
    double = double._replace(customer=double.customer._replace(id=good[0].customer.id))
    unknown_type = new()
    odd = unknown_type.customer._replace(name=object())  # type: ignore[arg-type]
    unknown_type = unknown_type._replace(customer=odd)
    await storage.invitations.create_invitation(good[0], None)
    outcomes = await asyncio.gather(
        *(
            storage.invitations.create_invitation(each, None)
            for each in (*good[1:3], double, unknown_type, *good[3:])
        ),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert query(database_url, COUNTS) == [(5, 5, 0, 0)]


async def test_who_has_gone_before_the_turn_changes_nothing(
    storage: SqlStorage, database_url: str
) -> None:
    call = asyncio.ensure_future(storage.invitations.create_invitation(new(), None))
    call.cancel()
    gone = storage._writes.submit(_fail_if_called, None)
    gone.cancel()
    await storage.invitations.create_invitation(new(), None)
    assert query(database_url, COUNTS) == [(1, 1, 0, 0)]


def _fail_if_called(*_: object) -> list[None]:
    raise AssertionError
