"""A resend that is cancelled, or fails, leaves the invitation as it was before."""

from datetime import datetime, timedelta

import pytest

from server.domain.errors import Reason
from server.domain.invitations import InvitationState, as_of, link_token_hash, resend
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, DAY, INVITATION_LIFETIME, LEASE, REFUSED, START
from tests.storage.stored_invitation import LAPSES_AT, MINUTE, StoredInvitation, sent

AGAIN = START + DAY


async def _cancelled(storage: SqlStorage, operation_id: str, now: datetime) -> None:
    ended = await storage.operations.cancel_operation(operation_id, now, ACTOR, None)
    assert ended
    assert ended.failure
    assert ended.failure.reason is Reason.OPERATION_CANCELLED


async def _leads(stored: StoredInvitation, token: str) -> bool:
    found = await stored.storage.invitations.look_up_invitation(link_token_hash(token))
    return found is not None and not found.replaced


@pytest.mark.parametrize("end", ["cancel", "cancel between tries", "refuse"])
@pytest.mark.parametrize("earlier", [0, 1])
async def test_after_a_failed_or_cancelled_resend_all_is_as_before(
    storage: SqlStorage, database_url: str, end: str, earlier: int
) -> None:
    """Also when it had been sent again before."""
    stored = await sent(storage)
    for _ in range(earlier):
        await stored.resend(START + MINUTE)
        await stored.deliver(START + MINUTE)
    before, token = await stored.recorded(), stored.token
    resent = await stored.resend(AGAIN)
    assert not await _leads(stored, token)
    if end == "cancel":
        await _cancelled(storage, resent.id, AGAIN)
    else:
        delivery = await stored.claim(AGAIN)
        if end == "refuse":
            assert await storage.mail.fail_delivery(delivery, REFUSED, AGAIN)
        else:
            assert await storage.mail.retry_delivery(delivery, AGAIN + DAY, AGAIN)
            await _cancelled(storage, resent.id, AGAIN)
        # Its e-mail may have arrived although the mail server said otherwise.
        assert await _leads(stored, delivery.link_token)
    assert await stored.recorded() == before
    assert await _leads(stored, token)
    assert [each for each in check(database_url) if each.count] == []
    # It can be sent again as soon as before, and that counts.
    again = await stored.resend(AGAIN)
    await stored.deliver(AGAIN)
    assert not await _leads(stored, token)
    assert await stored.latest() == again.id
    assert await stored.answer(now=AGAIN)


async def test_the_earlier_link_can_be_answered(storage: SqlStorage) -> None:
    stored = await sent(storage)
    resent = await stored.resend(AGAIN)
    await _cancelled(storage, resent.id, AGAIN)
    answered = await stored.answer(now=AGAIN)
    assert answered
    assert answered.state is InvitationState.ACCEPTED


async def test_a_cancelled_resend_gives_no_time_back(storage: SqlStorage) -> None:
    stored = await sent(storage)
    resent = await stored.resend(LAPSES_AT - MINUTE)
    assert as_of(await stored.recorded(), LAPSES_AT).state is InvitationState.PENDING
    await _cancelled(storage, resent.id, LAPSES_AT)
    assert as_of(await stored.recorded(), LAPSES_AT).state is InvitationState.EXPIRED
    assert await storage.retention.expire_invitations(LAPSES_AT, 10) == 1


async def test_what_has_gone_out_is_not_undone(storage: SqlStorage) -> None:
    """Cancelled while it was being sent."""
    stored = await sent(storage)
    token = stored.token
    resent = await stored.resend(AGAIN)
    delivery = await stored.claim(AGAIN)
    running = await storage.operations.cancel_operation(resent.id, AGAIN, ACTOR, None)
    assert running
    assert not running.done
    assert await storage.mail.finish_delivery(delivery, AGAIN)
    assert not await _leads(stored, token)
    assert (await stored.recorded()).resent_at == AGAIN
    assert await stored.answer(now=AGAIN)


async def test_a_revoked_one_stays_as_it_ended(storage: SqlStorage, database_url: str) -> None:
    stored = await sent(storage)
    await stored.resend(AGAIN)
    revoked = await stored.revoke(AGAIN + MINUTE)
    assert await storage.mail.claim_deliveries(10, AGAIN + MINUTE, LEASE) == []
    assert await stored.recorded() == revoked
    assert [each for each in check(database_url) if each.count] == []


class TestOverlaps:
    async def test_a_cancel_and_the_e_mail_that_goes_out(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """Whoever is first decides for both."""
        stored = await sent(storage)
        token = stored.token
        resent = await stored.resend(AGAIN)
        delivery = await stored.claim(AGAIN)
        late = AGAIN + LEASE + timedelta(seconds=1)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(resent.id, late, ACTOR, None),
            overlap.second.mail.finish_delivery(delivery, late),
        )
        assert outcome.waited
        assert outcome.second is False
        assert await _leads(stored, token)
        assert (await stored.recorded()).resent_at is None

    async def test_an_answer_by_the_earlier_link_sees_the_cancel_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        stored = await sent(storage)
        resent = await stored.resend(AGAIN)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(resent.id, AGAIN, ACTOR, None),
            stored.seen_by(overlap.second).answer(now=AGAIN),
        )
        assert outcome.waited
        assert outcome.second
        assert outcome.second.state is InvitationState.ACCEPTED


async def test_one_that_is_only_checked_changes_nothing(storage: SqlStorage) -> None:
    stored = await sent(storage)
    before, latest = await stored.recorded(), await stored.latest()
    now = START + MINUTE
    found = await storage.invitations.resend_invitation(
        stored.made.invitation.id,
        resend(stored.made.customer, resent_by="s", now=now),
        *(now + INVITATION_LIFETIME, MINUTE, ACTOR, None),
        dry_run=True,
    )
    assert found
    assert await storage.operations.get_operation(found.id) is None
    assert (await stored.recorded(), await stored.latest()) == (before, latest)
    assert not await storage.mail.claim_deliveries(10, now + INVITATION_LIFETIME / 2, LEASE)
    assert (await stored.answer(now=now)) is not None
