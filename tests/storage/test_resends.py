"""A resend that is cancelled, or fails, leaves the invitation as it was before."""

from datetime import datetime, timedelta

import pytest

from server.domain.errors import Reason
from server.domain.invitations import InvitationState, as_of, link_token_hash
from server.domain.operations import Failure
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.overlap import Overlap
from tests.storage.records import DAY, LEASE, START
from tests.storage.test_lives import LAPSES_AT, MINUTE, Life, sent

REFUSED = Failure(Reason.RECIPIENT_REFUSED, "Refused.", {})
AGAIN = START + DAY


async def _cancelled(storage: SqlStorage, operation_id: str, now: datetime) -> None:
    ended = await storage.operations.cancel_operation(operation_id, now, None)
    assert ended
    assert ended.failure
    assert ended.failure.reason is Reason.OPERATION_CANCELLED


async def _leads(life: Life, token: str) -> bool:
    found = await life.storage.invitations.look_up_invitation(link_token_hash(token))
    return found is not None and not found.replaced


@pytest.mark.parametrize("end", ["cancel", "cancel between tries", "refuse"])
@pytest.mark.parametrize("earlier", [0, 1])
async def test_all_is_as_before(
    storage: SqlStorage, database_url: str, end: str, earlier: int
) -> None:
    """Also when it had been sent again before."""
    life = await sent(storage)
    for _ in range(earlier):
        await life.resend(START + MINUTE)
        await life.deliver(START + MINUTE)
    before, token = await life.recorded(), life.token
    resent = await life.resend(AGAIN)
    assert not await _leads(life, token)
    if end == "cancel":
        await _cancelled(storage, resent.id, AGAIN)
    else:
        delivery = await life.claim(AGAIN)
        if end == "refuse":
            assert await storage.mail.fail_delivery(delivery, REFUSED, AGAIN)
        else:
            assert await storage.mail.retry_delivery(delivery, AGAIN + DAY, AGAIN)
            await _cancelled(storage, resent.id, AGAIN)
        # Its e-mail may have arrived although the mail server said otherwise.
        assert await _leads(life, delivery.link_token)
    assert await life.recorded() == before
    assert await _leads(life, token)
    assert [each for each in check(database_url) if each.count] == []
    # It can be sent again as soon as before, and that counts.
    again = await life.resend(AGAIN)
    await life.deliver(AGAIN)
    assert not await _leads(life, token)
    assert await life.latest() == again.id
    assert await life.answer(now=AGAIN)


async def test_the_earlier_link_can_be_answered(storage: SqlStorage) -> None:
    life = await sent(storage)
    resent = await life.resend(AGAIN)
    await _cancelled(storage, resent.id, AGAIN)
    answered = await life.answer(now=AGAIN)
    assert answered
    assert answered.state is InvitationState.ACCEPTED


async def test_time_does_not_stand_still_meanwhile(storage: SqlStorage) -> None:
    life = await sent(storage)
    resent = await life.resend(LAPSES_AT - MINUTE)
    assert as_of(await life.recorded(), LAPSES_AT).state is InvitationState.PENDING
    await _cancelled(storage, resent.id, LAPSES_AT)
    assert as_of(await life.recorded(), LAPSES_AT).state is InvitationState.EXPIRED
    assert await storage.retention.expire_invitations(LAPSES_AT, 10) == 1


async def test_what_has_gone_out_is_not_undone(storage: SqlStorage) -> None:
    """Cancelled while it was being sent."""
    life = await sent(storage)
    token = life.token
    resent = await life.resend(AGAIN)
    delivery = await life.claim(AGAIN)
    running = await storage.operations.cancel_operation(resent.id, AGAIN, None)
    assert running
    assert not running.done
    assert await storage.mail.finish_delivery(delivery, AGAIN)
    assert not await _leads(life, token)
    assert (await life.recorded()).resent_at == AGAIN
    assert await life.answer(now=AGAIN)


async def test_a_revoked_one_stays_as_it_ended(storage: SqlStorage, database_url: str) -> None:
    life = await sent(storage)
    await life.resend(AGAIN)
    revoked = await life.revoke(AGAIN + MINUTE)
    assert await storage.mail.claim_deliveries(10, AGAIN + MINUTE, LEASE) == []
    assert await life.recorded() == revoked
    assert [each for each in check(database_url) if each.count] == []


class TestOverlaps:
    async def test_a_cancel_and_the_e_mail_that_goes_out(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """Whoever is first decides for both."""
        life = await sent(storage)
        token = life.token
        resent = await life.resend(AGAIN)
        delivery = await life.claim(AGAIN)
        late = AGAIN + LEASE + timedelta(seconds=1)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(resent.id, late, None),
            overlap.second.mail.finish_delivery(delivery, late),
        )
        assert outcome.waited
        assert outcome.second is False
        assert await _leads(life, token)
        assert (await life.recorded()).resent_at is None

    async def test_an_answer_by_the_earlier_link_sees_the_cancel_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        life = await sent(storage)
        resent = await life.resend(AGAIN)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(resent.id, AGAIN, None),
            Life(overlap.second, life.made, life.token).answer(now=AGAIN),
        )
        assert outcome.waited
        assert outcome.second
        assert outcome.second.state is InvitationState.ACCEPTED
