"""What one process adds or changes while another adds the same: invitations and customers.

Each test decides the order: the first call stops right before its commit, the second one runs until
it waits for a lock of the first (or ends without), and then the first commits. SQLite has one
writer, so the second always waits there.
"""

from datetime import timedelta

import pytest

from server.domain.customers import TARGETS, CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationState
from server.domain.operations import OperationKind
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, START, key, new
from tests.storage.stored_invitation import LAPSES_AT, MINUTE, recorded, sent
from tests.storage.test_customers import change, new_customer

LATER = START + timedelta(seconds=1)


def refused_as(outcome: object, state: InvitationState) -> bool:
    return (
        isinstance(outcome, BillingError)
        and outcome.reason is Reason.INVITATION_STATE
        and outcome.metadata == {"state": state.name}
    )


@pytest.mark.parametrize(
    ("first", "state"),
    [
        ("accept", InvitationState.ACCEPTED),
        ("decline", InvitationState.DECLINED),
        ("revoke", InvitationState.REVOKED),
    ],
)
async def test_inviting_anew_sees_the_ending_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap, first: str, state: InvitationState
) -> None:
    """By the clock of who invites anew, the invitation that is being answered has lapsed."""
    stored = await sent(storage)
    anew = new(stored.made.invitation.email, now=LAPSES_AT)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).act(first),
        overlap.second.invitations.create_invitation(anew, None),
    )
    assert outcome.waited
    assert outcome.second == anew.operation
    found = await stored.recorded()
    assert (found.state, found.ended_at) == (state, START + MINUTE)
    assert found == outcome.first


async def test_an_answer_sees_that_its_address_was_invited_anew(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """By its own clock it would have been in time."""
    stored = await sent(storage)
    anew = new(stored.made.invitation.email, now=LAPSES_AT)
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(anew, None),
        stored.seen_by(overlap.second).answer(),
    )
    assert outcome.waited
    assert refused_as(outcome.second, InvitationState.EXPIRED)
    assert await stored.customer_state() is CustomerState.INACTIVE


async def test_inviting_anew_sees_the_sweep_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    stored = await sent(storage)
    anew = new(stored.made.invitation.email, now=LAPSES_AT)
    outcome = await overlap.run(
        overlap.first.retention.expire_invitations(LAPSES_AT, 10),
        overlap.second.invitations.create_invitation(anew, None),
    )
    assert outcome == (1, anew.operation, True)
    assert (await stored.recorded()).state is InvitationState.EXPIRED


async def test_inviting_anew_sees_the_resend_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """It gave the invitation more time, so that it has not lapsed after all."""
    stored = await sent(storage)
    anew = new(stored.made.invitation.email, now=LAPSES_AT)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).resend(),
        overlap.second.invitations.create_invitation(anew, None),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.INVITATION_OPEN
    assert outcome.second.metadata["invitationId"] == stored.made.invitation.id
    assert (await stored.recorded()).state is InvitationState.PENDING


async def test_of_two_invitations_for_the_same_address_the_later_names_the_first(
    overlap: Overlap,
) -> None:
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new("a@example.com"), key("one")),
        overlap.second.invitations.create_invitation(new("A@example.com"), key("other")),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.INVITATION_OPEN
    assert outcome.second.metadata["operationId"] == outcome.first.id


async def test_of_two_invitations_with_the_same_key_the_later_is_the_first(
    overlap: Overlap,
) -> None:
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new("a@example.com"), key("k")),
        overlap.second.invitations.create_invitation(new("a@example.com"), key("k")),
    )
    assert outcome.waited
    assert outcome.first == outcome.second


@on_postgresql
async def test_a_repeat_is_found_whenever_the_first_call_commits(overlap: Overlap) -> None:
    """It has read nothing before it has the key for itself."""
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new("a@example.com"), key("k")),
        overlap.second.invitations.create_invitation(new("a@example.com"), key("k")),
        stop_before="pg_advisory_xact_lock",
    )
    assert not outcome.waited
    assert outcome.first == outcome.second


async def test_of_two_different_calls_with_the_same_key_the_later_is_refused(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """One makes an operation, the other does not: their keys are in two tables."""
    other = await recorded(storage)
    revoked = other.made.invitation.id
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new(), key("k", "one")),
        overlap.second.invitations.revoke_invitation(revoked, LATER, ACTOR, key("k", "another")),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert (await other.recorded()).state is InvitationState.PENDING


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (OperationKind.SUSPEND, OperationKind.ACTIVATE, CustomerState.ACTIVE),
        (OperationKind.ACTIVATE, OperationKind.SUSPEND, CustomerState.SUSPENDED),
    ],
)
async def test_of_two_changes_of_a_customer_the_later_counts(
    storage: SqlStorage,
    overlap: Overlap,
    first: OperationKind,
    second: OperationKind,
    state: CustomerState,
) -> None:
    made = new_customer(TARGETS[second])
    await storage.customers.create_customer(made, None)
    outcome = await overlap.run(
        overlap.first.customers.change_customer_state(
            change(first, made.customer, LATER), ACTOR, None
        ),
        overlap.second.customers.change_customer_state(change(second, made.customer), ACTOR, None),
    )
    assert outcome.waited
    found = await storage.customers.get_customer(made.customer.id)
    assert found
    # Times of change rise, so that each has an etag of its own.
    assert (found.state, found.modified_at) == (state, LATER + timedelta(microseconds=1))


async def test_of_two_new_customers_with_the_same_key_the_later_is_the_first(
    overlap: Overlap,
) -> None:
    outcome = await overlap.run(
        overlap.first.customers.create_customer(new_customer(), key("k")),
        overlap.second.customers.create_customer(new_customer(), key("k")),
    )
    assert outcome.waited
    assert outcome.first == outcome.second
