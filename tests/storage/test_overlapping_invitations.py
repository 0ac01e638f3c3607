"""What one process does to an invitation while another changes it or sends its e-mail.

Each test decides the order: the first call stops right before its commit, the second one runs until
it waits for a lock of the first (or ends without), and then the first commits. SQLite has one
writer, so the second always waits there.
"""

from datetime import timedelta

import pytest

from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationState
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql
from tests.storage.overlap import Overlap
from tests.storage.records import LEASE, REFUSED, SECOND_RESELLER, START, key, new
from tests.storage.stored_invitation import LAPSES_AT, MINUTE, recorded, sent

LATER = START + timedelta(seconds=1)


def refused_as(outcome: object, state: InvitationState) -> bool:
    return (
        isinstance(outcome, BillingError)
        and outcome.reason is Reason.INVITATION_STATE
        and outcome.metadata == {"state": state.name}
    )


async def test_a_failed_e_mail_sees_the_answer_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """An attempt timed out whose e-mail arrived; the next one is refused."""
    stored = await recorded(storage)
    delivery = await stored.claim()
    outcome = await overlap.run(
        stored.seen_by(overlap.first).answer(),
        overlap.second.mail.fail_delivery(delivery, REFUSED, LATER),
    )
    assert (outcome.waited, outcome.second) == (True, True)
    assert outcome.first.state is InvitationState.ACCEPTED
    ended = await stored.operation()
    assert (ended.done, ended.failure) == (True, None)
    assert await stored.customer_state() is CustomerState.ACTIVE


async def test_an_answer_sees_the_failed_e_mail_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    outcome = await overlap.run(
        overlap.first.mail.fail_delivery(delivery, REFUSED, LATER),
        stored.seen_by(overlap.second).answer(),
    )
    assert outcome == (True, None, True)
    assert (await stored.operation()).failure == REFUSED


@pytest.mark.parametrize(
    ("first", "state"),
    [
        ("accept", InvitationState.ACCEPTED),
        ("decline", InvitationState.DECLINED),
        ("revoke", InvitationState.REVOKED),
        ("expire", InvitationState.EXPIRED),
    ],
)
@pytest.mark.parametrize("second", ["accept", "decline", "revoke", "resend"])
async def test_the_second_of_two_actions_sees_how_the_first_ended_it(
    storage: SqlStorage,
    overlap: Overlap,
    first: str,
    state: InvitationState,
    second: str,
) -> None:
    stored = await sent(storage)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).act(first), stored.seen_by(overlap.second).act(second)
    )
    assert outcome.waited
    found = await stored.recorded()
    assert found.state is state
    if first == second:
        assert outcome.first == outcome.second == found
    else:
        assert refused_as(outcome.second, state)
    assert await stored.latest() == stored.made.operation.id


@pytest.mark.parametrize("second", ["accept", "decline"])
async def test_an_answer_by_the_old_link_sees_the_resend_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap, second: str
) -> None:
    stored = await sent(storage)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).resend(), stored.seen_by(overlap.second).act(second)
    )
    assert (outcome.waited, outcome.second) == (True, None)
    found = await stored.recorded()
    assert found.state is InvitationState.PENDING
    assert await stored.latest() == outcome.first.id


async def test_of_two_resends_one_is_too_soon(storage: SqlStorage, overlap: Overlap) -> None:
    stored = await sent(storage)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).resend(), stored.seen_by(overlap.second).resend()
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.RESENT_TOO_SOON
    assert await stored.latest() == outcome.first.id


async def test_a_revoked_resend_is_not_sent(storage: SqlStorage, overlap: Overlap) -> None:
    stored = await sent(storage)
    outcome = await overlap.run(
        stored.seen_by(overlap.first).resend(), stored.seen_by(overlap.second).revoke()
    )
    assert outcome.waited
    assert outcome.second.state is InvitationState.REVOKED
    assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    assert (await stored.operation(outcome.first.id)).done


@pytest.mark.parametrize("action", ["resend", "accept", "revoke"])
async def test_a_repeat_with_the_same_key_is_what_it_waited_for(
    storage: SqlStorage, overlap: Overlap, action: str
) -> None:
    stored = await sent(storage)
    outcome = await overlap.run(
        *(
            stored.seen_by(process).act(action, use=key("k"))
            for process in (overlap.first, overlap.second)
        )
    )
    assert outcome.waited
    assert outcome.first == outcome.second
    assert not isinstance(outcome.first, BillingError)


@on_postgresql
@pytest.mark.parametrize("second", ["accept", "decline", "revoke"])
async def test_ending_does_not_wait_for_who_claims_its_e_mail(
    storage: SqlStorage, overlap: Overlap, second: str
) -> None:
    """Those who end operations lock the invitation after: they would wait for each other."""
    stored = await recorded(storage)
    delivery = await stored.claim()
    assert await storage.mail.retry_delivery(delivery, START, START)
    outcome = await overlap.run(
        overlap.first.mail.claim_deliveries(10, START, LEASE),
        stored.seen_by(overlap.second).act(second),
    )
    assert not outcome.waited
    found = await stored.recorded()
    assert found == outcome.second
    assert found.state is not InvitationState.PENDING
    # The claim's outcome counts all the same.
    (delivery,) = outcome.first
    assert await storage.mail.finish_delivery(delivery, LATER)
    assert (await stored.operation()).done


@pytest.mark.parametrize("ending", ["accept", "decline", "revoke"])
async def test_ending_leaves_an_e_mail_that_is_being_sent_to_its_worker(
    storage: SqlStorage, other_process: SqlStorage, ending: str
) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    await stored.act(ending, now=LATER)
    assert await other_process.mail.claim_deliveries(10, LATER, LEASE) == []
    assert not (await stored.operation()).done
    assert await storage.mail.finish_delivery(delivery, LATER)
    assert (await stored.operation()).done


@on_postgresql
@pytest.mark.parametrize("first", ["accept", "resend"])
async def test_the_expiry_sweep_passes_over_what_others_hold(
    storage: SqlStorage, overlap: Overlap, first: str
) -> None:
    """Two processes whose clocks differ: by one it is in time, by the other it has lapsed.

    The other is another reseller's: whose log is being written to would be waited for.
    """
    stored, lapsed = await sent(storage), await sent(storage, new(reseller_id=SECOND_RESELLER))
    outcome = await overlap.run(
        stored.seen_by(overlap.first).act(first),
        overlap.second.retention.expire_invitations(LAPSES_AT, 10),
    )
    assert (outcome.waited, outcome.second) == (False, 1)
    assert (await lapsed.recorded()).state is InvitationState.EXPIRED
    assert (await stored.recorded()).state is not InvitationState.EXPIRED
