"""Actions on one invitation at once: they end as if one had come after the other.

Each race is run for many invitations at once and from two processes, so that every order occurs:
in one batch, in two batches, and with one batch waiting for another's lock.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    CUSTOMER_STATES,
    Invitation,
    InvitationAction,
    InvitationState,
)
from server.domain.operations import Failure
from server.storage.interface import Delivery
from server.storage.store import SqlStorage
from tests.storage.records import LEASE, START, key, new
from tests.storage.test_lives import LAPSES_AT, MINUTE, Life, recorded

RACES = 60
AT_ONCE = 10
NEVER = timedelta(days=1)
Action = Callable[[Life], Awaitable[object]]


async def lives(
    storage: SqlStorage, other: SqlStorage, *, finish: bool = True
) -> tuple[list[tuple[Life, Life]], dict[str, Delivery]]:
    """Returns invitations, each as two processes see it, and by ID their claimed e-mails."""
    made = await asyncio.gather(*(recorded(storage, new()) for _ in range(RACES)))
    pairs = [(life, Life(other, life.made)) for life in made]
    deliveries = {
        each.invitation_id: each for each in await storage.claim_deliveries(RACES, START, LEASE)
    }
    if finish:
        await asyncio.gather(
            *(storage.finish_delivery(each, START) for each in deliveries.values())
        )
    for pair in pairs:
        for life in pair:
            life.token = deliveries[life.made.invitation.id].link_token
    return pairs, deliveries


async def race(pairs: list[tuple[Life, Life]], *actions: Action) -> list[tuple[object, ...]]:
    """Runs the actions at once, on every invitation; who is asked first, and who asks, differs."""
    outcomes: list[tuple[object, ...]] = []
    for start in range(0, len(pairs), AT_ONCE):
        order = [(start // AT_ONCE + place) % len(actions) for place in range(len(actions))]
        calls = [
            [actions[at](pair[(at + number) % 2]) for at in order]
            for number, pair in enumerate(pairs[start : start + AT_ONCE])
        ]
        done = await asyncio.gather(
            *(call for each in calls for call in each), return_exceptions=True
        )
        for number in range(len(calls)):
            own = done[number * len(actions) : (number + 1) * len(actions)]
            by_action = dict(zip(order, own, strict=True))
            outcomes.append(tuple(by_action[at] for at in range(len(actions))))
    return outcomes


def refused_as(outcome: object, state: InvitationState) -> bool:
    return (
        isinstance(outcome, BillingError)
        and outcome.reason is Reason.INVITATION_STATE
        and outcome.metadata == {"state": state.name}
    )


def is_in(outcome: object, state: InvitationState) -> bool:
    return isinstance(outcome, Invitation) and outcome.state is state


async def accept(life: Life) -> object:
    return await life.answer()


async def decline(life: Life) -> object:
    return await life.answer(InvitationAction.DECLINE)


async def revoke(life: Life) -> object:
    return await life.revoke()


async def resend(life: Life) -> object:
    return await life.resend(interval=NEVER)


async def test_accept_against_revoke_against_decline(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    pairs, _ = await lives(storage, other_process)
    wanted = (InvitationState.ACCEPTED, InvitationState.REVOKED, InvitationState.DECLINED)
    outcomes = await race(pairs, accept, revoke, decline)
    for (life, _), outcome in zip(pairs, outcomes, strict=True):
        found = await life.recorded()
        for state, each in zip(wanted, outcome, strict=True):
            assert is_in(each, state) if state is found.state else refused_as(each, found.state)
        assert await life.customer_state() is CUSTOMER_STATES[found.state]


async def test_two_accepts(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)

    async def accept_later(life: Life) -> object:
        return await life.answer(now=START + 2 * MINUTE)

    for (life, _), outcome in zip(pairs, await race(pairs, accept, accept_later), strict=True):
        assert outcome[0] == outcome[1]
        found = await life.recorded()
        assert found.state is InvitationState.ACCEPTED
        assert is_in(outcome[0], InvitationState.ACCEPTED)
        assert found.ended_at == getattr(outcome[0], "ended_at", None)
        assert await life.customer_state() is CustomerState.ACTIVE


async def test_resend_against_accept(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)
    states = Counter[InvitationState]()
    for (life, _), (accepted, resent) in zip(pairs, await race(pairs, accept, resend), strict=True):
        found = await life.recorded()
        states[found.state] += 1
        if found.state is InvitationState.ACCEPTED:
            assert is_in(accepted, InvitationState.ACCEPTED)
            assert refused_as(resent, InvitationState.ACCEPTED)
            assert found.latest_operation_id == life.made.operation.id
        else:
            assert accepted is None  # its link was dead by then
            assert found.state is InvitationState.PENDING
            assert found.latest_operation_id == getattr(resent, "id", None)
        assert await life.customer_state() is CUSTOMER_STATES[found.state]
    # What was sent again can be accepted by the new link.
    due = await storage.claim_deliveries(RACES, START + MINUTE, LEASE)
    assert len(due) == states[InvitationState.PENDING]
    for life, _ in pairs:
        for delivery in due:
            if delivery.invitation_id == life.made.invitation.id:
                assert is_in(await life.answer(token=delivery.link_token), InvitationState.ACCEPTED)


async def test_resend_against_revoke(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)
    for (life, _), (revoked, resent) in zip(pairs, await race(pairs, revoke, resend), strict=True):
        found = await life.recorded()
        assert found.state is InvitationState.REVOKED
        assert is_in(revoked, InvitationState.REVOKED)
        first = life.made.operation.id
        assert refused_as(resent, InvitationState.REVOKED) is (found.latest_operation_id == first)
        assert await life.customer_state() is CustomerState.INACTIVE
    # Whatever was to be sent again by then is not.
    assert await storage.claim_deliveries(RACES, START + MINUTE, LEASE) == []


async def test_two_resends(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)
    for (life, _), outcome in zip(pairs, await race(pairs, resend, resend), strict=True):
        latest = (await life.recorded()).latest_operation_id
        ids = [getattr(each, "id", None) for each in outcome]
        assert sorted(ids, key=str) == sorted([latest, None], key=str)
        (error,) = [each for each in outcome if isinstance(each, BillingError)]
        assert error.reason is Reason.RESENT_TOO_SOON
    assert len(await storage.claim_deliveries(1000, START + MINUTE, LEASE)) == RACES


async def test_one_resend_repeated(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)

    async def resend_with_key(life: Life) -> object:
        return await life.resend(interval=NEVER, use=key(life.made.invitation.id))

    for (life, _), outcome in zip(pairs, await race(pairs, *[resend_with_key] * 3), strict=True):
        latest = (await life.recorded()).latest_operation_id
        assert [getattr(each, "id", each) for each in outcome] == [latest] * 3


async def test_accept_against_the_failure_of_the_e_mail(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    """An attempt timed out whose e-mail arrived; the next one is refused while it is accepted."""
    pairs, deliveries = await lives(storage, other_process, finish=False)
    refused = Failure(Reason.RECIPIENT_REFUSED, "Refused.", {})

    async def fail(life: Life) -> object:
        delivery = deliveries[life.made.invitation.id]
        return await life.storage.fail_delivery(delivery, refused, START + MINUTE)

    for (life, _), (accepted, recorded_) in zip(
        pairs, await race(pairs, accept, fail), strict=True
    ):
        assert recorded_ is True
        operation = await life.operation()
        assert operation.done
        found = await storage.get_invitation(life.made.invitation.id)
        customer = await storage.get_customer(life.made.customer.id)
        if operation.failure:
            assert (accepted, found, customer) == (None, None, None)
        else:
            assert is_in(accepted, InvitationState.ACCEPTED)
            assert found
            assert found.state is InvitationState.ACCEPTED
            assert customer
            assert customer.state is CustomerState.ACTIVE


async def test_accept_against_expiry(storage: SqlStorage, other_process: SqlStorage) -> None:
    """Two processes whose clocks differ: by one it is in time, by the other it has lapsed."""
    pairs, _ = await lives(storage, other_process)

    async def accept_in_time(life: Life) -> object:
        return await life.answer(now=LAPSES_AT - MINUTE)

    async def sweep(life: Life) -> object:
        return await life.storage.expire_invitations(LAPSES_AT, 1)

    async def invite_anew(life: Life) -> object:
        given = life.made.invitation
        anew = new(given.email, now=LAPSES_AT)
        return await life.storage.create_invitation(anew, None)

    for (life, _), (accepted, _, invited) in zip(
        pairs, await race(pairs, accept_in_time, sweep, invite_anew), strict=True
    ):
        found = await life.recorded()
        if found.state is InvitationState.ACCEPTED:
            assert is_in(accepted, InvitationState.ACCEPTED)
        else:
            assert found.state is InvitationState.EXPIRED
            assert refused_as(accepted, InvitationState.EXPIRED)
        assert not isinstance(invited, BillingError), invited
        assert await life.customer_state() is CUSTOMER_STATES[found.state]


async def test_everything_at_once(storage: SqlStorage, other_process: SqlStorage) -> None:
    pairs, _ = await lives(storage, other_process)
    await race(pairs, accept, revoke, resend, decline, accept, resend, revoke)
    due = await storage.claim_deliveries(1000, START + MINUTE, LEASE)
    for life, _ in pairs:
        found = await life.recorded()
        assert await life.customer_state() is CUSTOMER_STATES[found.state]
        assert (found.open_key is None) is (found.state is not InvitationState.PENDING)
        assert (found.ended_at is None) is (found.state is InvitationState.PENDING)
        is_due = life.made.invitation.id in {each.invitation_id for each in due}
        assert is_due is (found.state is InvitationState.PENDING)
