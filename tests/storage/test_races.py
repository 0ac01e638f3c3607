"""Actions on one invitation at once: they end as if one had come after the other.

Each race is run in every order of its actions (of many, in every rotation), and in both ways: in
one batch, and with those that come later waiting for the first one's commit.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from itertools import permutations
from typing import Any, NamedTuple

import pytest

from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    CUSTOMER_STATES,
    Invitation,
    InvitationAction,
    InvitationState,
)
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.overlap import Overlap
from tests.storage.records import LEASE, REFUSED, START, key
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded, sent

NEVER = timedelta(days=1)
Action = Callable[[StoredInvitation], Coroutine[Any, Any, object]]


class Ended(NamedTuple):
    """One race: its invitation, which action came first, and the outcomes by action."""

    stored: StoredInvitation
    first: int
    outcomes: list[Any]


@pytest.fixture(params=["one batch", "overlapping"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def race(
    overlap: Overlap,
    way: str,
    *actions: Action,
    begin: Callable[[SqlStorage], Awaitable[StoredInvitation]] = sent,
) -> AsyncIterator[Ended]:
    """Runs the actions on a new invitation for each order."""
    for order in _orders(len(actions)):
        stored = await begin(overlap.first)
        others = stored.seen_by(overlap.second)
        first, *rest = (actions[at] for at in order)
        if way == "one batch":
            outcomes = await overlap.in_one_batch(first(others), *(act(others) for act in rest))
        else:
            outcome = await overlap.run(
                first(stored), overlap.in_one_batch(*(act(others) for act in rest))
            )
            assert outcome.waited
            outcomes = [outcome.first, *outcome.second]
        by_action = dict(zip(order, outcomes, strict=True))
        yield Ended(stored, order[0], [by_action[at] for at in range(len(actions))])


def _orders(count: int) -> list[tuple[int, ...]]:
    if count <= 3:
        return list(permutations(range(count)))
    return [tuple((start + step) % count for step in range(count)) for start in range(count)]


def refused_as(outcome: object, state: InvitationState) -> bool:
    return (
        isinstance(outcome, BillingError)
        and outcome.reason is Reason.INVITATION_STATE
        and outcome.metadata == {"state": state.name}
    )


def is_in(outcome: object, state: InvitationState) -> bool:
    return isinstance(outcome, Invitation) and outcome.state is state


async def accept(stored: StoredInvitation) -> object:
    return await stored.answer()


async def decline(stored: StoredInvitation) -> object:
    return await stored.answer(InvitationAction.DECLINE)


async def revoke(stored: StoredInvitation) -> object:
    return await stored.revoke()


async def resend(stored: StoredInvitation) -> object:
    return await stored.resend(interval=NEVER)


async def due(stored: StoredInvitation) -> list[Delivery]:
    """Claims what is due of one invitation's e-mails."""
    found = await stored.storage.mail.claim_deliveries(1000, START + MINUTE, LEASE)
    return [each for each in found if each.invitation_id == stored.made.invitation.id]


async def test_accept_against_revoke_against_decline(overlap: Overlap, way: str) -> None:
    wanted = (InvitationState.ACCEPTED, InvitationState.REVOKED, InvitationState.DECLINED)
    async for stored, first, outcomes in race(overlap, way, accept, revoke, decline):
        found = await stored.recorded()
        assert found.state is wanted[first]
        for state, each in zip(wanted, outcomes, strict=True):
            assert is_in(each, state) if state is found.state else refused_as(each, found.state)
        assert await stored.customer_state() is CUSTOMER_STATES[found.state]


async def test_two_accepts_of_an_invitation_are_one(overlap: Overlap, way: str) -> None:
    async def accept_later(stored: StoredInvitation) -> object:
        return await stored.answer(now=START + 2 * MINUTE)

    async for stored, first, outcomes in race(overlap, way, accept, accept_later):
        found = await stored.recorded()
        assert outcomes == [found, found]
        assert found.state is InvitationState.ACCEPTED
        assert found.ended_at == START + (first + 1) * MINUTE
        assert await stored.customer_state() is CustomerState.ACTIVE


async def test_a_resend_against_an_accept_ends_as_in_some_order(overlap: Overlap, way: str) -> None:
    async for stored, first, (accepted, resent) in race(overlap, way, accept, resend):
        found = await stored.recorded()
        if first == 0:
            assert is_in(accepted, InvitationState.ACCEPTED)
            assert refused_as(resent, InvitationState.ACCEPTED)
            assert await stored.latest() == stored.made.operation.id
            assert await due(stored) == []
        else:
            assert accepted is None  # its link was dead by then
            assert found.state is InvitationState.PENDING
            assert await stored.latest() == resent.id
            # What was sent again can be accepted by the new link.
            (delivery,) = await due(stored)
            assert is_in(await stored.answer(token=delivery.link_token), InvitationState.ACCEPTED)


async def test_a_resend_against_a_revoke_ends_as_in_some_order(overlap: Overlap, way: str) -> None:
    async for stored, first, (revoked, resent) in race(overlap, way, revoke, resend):
        found = await stored.recorded()
        assert found.state is InvitationState.REVOKED
        assert is_in(revoked, InvitationState.REVOKED)
        assert refused_as(resent, InvitationState.REVOKED) is (first == 0)
        assert ((await stored.latest()) == stored.made.operation.id) is (first == 0)
        assert await stored.customer_state() is CustomerState.INACTIVE
        # Whatever was to be sent again by then is not.
        assert await due(stored) == []


async def test_of_two_resends_one_is_too_soon(overlap: Overlap, way: str) -> None:
    async for stored, first, outcomes in race(overlap, way, resend, resend):
        assert await stored.latest() == outcomes[first].id
        assert outcomes[1 - first].reason is Reason.RESENT_TOO_SOON
        assert len(await due(stored)) == 1


async def test_a_repeated_resend_with_the_same_key_is_one(overlap: Overlap, way: str) -> None:
    async def resend_with_key(stored: StoredInvitation) -> object:
        return await stored.resend(interval=NEVER, use=key(stored.made.invitation.id))

    async for stored, first, outcomes in race(overlap, way, *[resend_with_key] * 3):
        latest = await stored.latest()
        assert [each.id for each in outcomes] == [latest] * 3, first


async def test_an_accept_against_a_failed_e_mail_ends_as_in_some_order(
    overlap: Overlap, way: str
) -> None:
    """An attempt timed out whose e-mail arrived; the next one is refused while it is accepted."""
    claims: dict[str, Delivery] = {}

    async def claimed(storage: SqlStorage) -> StoredInvitation:
        stored = await recorded(storage)
        claims[stored.made.invitation.id] = await stored.claim()
        return stored

    async def fail(stored: StoredInvitation) -> object:
        delivery = claims[stored.made.invitation.id]
        return await stored.storage.mail.fail_delivery(delivery, REFUSED, START + MINUTE)

    async for stored, first, (accepted, recorded_) in race(
        overlap, way, accept, fail, begin=claimed
    ):
        assert recorded_ is True
        operation = await stored.operation()
        assert operation.done
        found = await stored.storage.invitations.get_invitation(stored.made.invitation.id)
        customer = await stored.storage.customers.get_customer(stored.made.customer.id)
        if first == 0:
            assert found
            assert accepted == found._replace(delivery=None)
            assert found.state is InvitationState.ACCEPTED
            assert operation.failure is None
            assert customer
            assert customer.state is CustomerState.ACTIVE
        else:
            assert operation.failure == REFUSED
            assert (accepted, found, customer) == (None, None, None)


async def test_all_actions_at_once_leave_a_consistent_invitation(
    overlap: Overlap, way: str
) -> None:
    async for stored, _, _ in race(
        overlap, way, accept, revoke, resend, decline, accept, resend, revoke
    ):
        found = await stored.recorded()
        assert await stored.customer_state() is CUSTOMER_STATES[found.state]
        assert (found.ended_at is None) is (found.state is InvitationState.PENDING)
        assert bool(await due(stored)) is (found.state is InvitationState.PENDING)
