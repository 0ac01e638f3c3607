"""What one process does while another's transaction on the same rows is not yet committed.

Each test decides the order: the first call stops right before its commit, the second one runs until
it waits for a lock of the first (or ends without), and then the first commits. SQLite has one
writer, so the second always waits there.
"""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from server.domain.access import AccountKey, Role, VerifiedToken
from server.domain.customers import TARGETS, CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationAction, InvitationState
from server.domain.operations import CANCELLED, Failure, OperationKind
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.overlap import Overlap
from tests.storage.records import DAY, LEASE, RESELLER, START, claimed, invited, key, new
from tests.storage.test_customers import change, new_customer
from tests.storage.test_lives import LAPSES_AT, MINUTE, Life, recorded, sent

# A test of what readers and writers of PostgreSQL do beside each other.
on_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
LATER = START + timedelta(seconds=1)
REFUSED = Failure(Reason.RECIPIENT_REFUSED, "No such mailbox.", {})


def seen_by(process: SqlStorage, life: Life) -> Life:
    """Returns the same invitation as another process sees it."""
    return Life(process, life.made, life.token)


def refused_as(outcome: object, state: InvitationState) -> bool:
    return (
        isinstance(outcome, BillingError)
        and outcome.reason is Reason.INVITATION_STATE
        and outcome.metadata == {"state": state.name}
    )


class TestOperations:
    async def test_a_cancel_sees_the_claim_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, START, LEASE),
            overlap.second.operations.cancel_operation(given.id, LATER, None),
        )
        assert outcome.waited
        (delivery,) = outcome.first
        # The e-mail is being sent, so the operation still runs and the customer is still there.
        assert outcome.second == given
        assert await storage.customers.get_customer(given.customer_id)
        assert await storage.mail.retry_delivery(delivery, LATER, LATER)
        ended = await storage.operations.get_operation(given.id)
        assert ended
        assert ended.failure == CANCELLED

    async def test_an_outcome_sees_the_cancel_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        delivery = await claimed(storage)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(given.id, LATER, None),
            overlap.second.mail.retry_delivery(delivery, LATER + LEASE, LATER),
        )
        assert (outcome.waited, outcome.second) == (True, True)
        ended = await storage.operations.get_operation(given.id)
        assert ended
        assert ended.failure == CANCELLED
        assert await storage.customers.get_customer(given.customer_id) is None

    @pytest.mark.parametrize("ending", ["finish", "fail", "retry"])
    async def test_an_outcome_sees_the_claim_that_overtook_it(
        self, storage: SqlStorage, overlap: Overlap, ending: str
    ) -> None:
        given = await invited(storage)
        slow = await claimed(storage)
        now = slow.lease_until
        second = overlap.second
        endings: dict[str, Callable[[Delivery], Coroutine[Any, Any, bool]]] = {
            "finish": lambda delivery: second.mail.finish_delivery(delivery, now),
            "fail": lambda delivery: second.mail.fail_delivery(delivery, REFUSED, now),
            "retry": lambda delivery: second.mail.retry_delivery(delivery, now, now),
        }
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, now, LEASE), endings[ending](slow)
        )
        (fast,) = outcome.first
        assert (outcome.waited, outcome.second, fast.attempt) == (True, False, 2)
        assert await storage.operations.get_operation(given.id) == given
        assert await storage.mail.finish_delivery(fast, now)

    async def test_of_two_cancels_the_later_changes_nothing(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(given.id, LATER, None),
            overlap.second.operations.cancel_operation(given.id, LATER + LEASE, None),
        )
        assert outcome.waited
        assert outcome.first == outcome.second == await storage.operations.get_operation(given.id)

    async def test_of_two_deletes_one_finds_the_operation(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        await storage.mail.finish_delivery(await claimed(storage), START)
        outcome = await overlap.run(
            overlap.first.operations.delete_operation(given.id, LATER, None),
            overlap.second.operations.delete_operation(given.id, LATER, None),
        )
        assert outcome == (True, False, True)

    @on_postgresql
    async def test_workers_pass_over_what_others_are_claiming(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = [await invited(storage, START + number * MINUTE) for number in range(4)]
        now = START + 4 * MINUTE
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(2, now, LEASE),
            overlap.second.mail.claim_deliveries(2, now, LEASE),
        )
        assert not outcome.waited
        assert {each.operation_id for each in outcome.first} == {row.id for row in given[:2]}
        assert {each.operation_id for each in outcome.second} == {row.id for row in given[2:]}

    @on_postgresql
    async def test_a_claim_passes_over_what_is_being_cancelled(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given, other = await invited(storage), await invited(storage)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(given.id, START, None),
            overlap.second.mail.claim_deliveries(10, START, LEASE),
        )
        assert not outcome.waited
        assert [each.operation_id for each in outcome.second] == [other.id]


class TestInvitations:
    async def test_a_failed_e_mail_sees_the_answer_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """An attempt timed out whose e-mail arrived; the next one is refused."""
        life = await recorded(storage)
        delivery = await life.claim()
        outcome = await overlap.run(
            seen_by(overlap.first, life).answer(),
            overlap.second.mail.fail_delivery(delivery, REFUSED, LATER),
        )
        assert (outcome.waited, outcome.second) == (True, True)
        assert outcome.first.state is InvitationState.ACCEPTED
        ended = await life.operation()
        assert (ended.done, ended.failure) == (True, None)
        assert await life.customer_state() is CustomerState.ACTIVE

    async def test_an_answer_sees_the_failed_e_mail_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        life = await recorded(storage)
        delivery = await life.claim()
        outcome = await overlap.run(
            overlap.first.mail.fail_delivery(delivery, REFUSED, LATER),
            seen_by(overlap.second, life).answer(),
        )
        assert outcome == (True, None, True)
        assert (await life.operation()).failure == REFUSED

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
    async def test_who_comes_second_sees_how_it_ended(
        self,
        storage: SqlStorage,
        overlap: Overlap,
        first: str,
        state: InvitationState,
        second: str,
    ) -> None:
        life = await sent(storage)
        outcome = await overlap.run(
            _act(seen_by(overlap.first, life), first), _act(seen_by(overlap.second, life), second)
        )
        assert outcome.waited
        found = await life.recorded()
        assert found.state is state
        if first == second:
            assert outcome.first == outcome.second == found
        else:
            assert refused_as(outcome.second, state)
        assert await life.latest() == life.made.operation.id

    @pytest.mark.parametrize("second", ["accept", "decline"])
    async def test_an_answer_by_the_old_link_sees_the_resend_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap, second: str
    ) -> None:
        life = await sent(storage)
        outcome = await overlap.run(
            seen_by(overlap.first, life).resend(), _act(seen_by(overlap.second, life), second)
        )
        assert (outcome.waited, outcome.second) == (True, None)
        found = await life.recorded()
        assert found.state is InvitationState.PENDING
        assert await life.latest() == outcome.first.id

    async def test_of_two_resends_one_is_too_soon(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        life = await sent(storage)
        outcome = await overlap.run(
            seen_by(overlap.first, life).resend(), seen_by(overlap.second, life).resend()
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.RESENT_TOO_SOON
        assert await life.latest() == outcome.first.id

    async def test_a_revoked_resend_is_not_sent(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        life = await sent(storage)
        outcome = await overlap.run(
            seen_by(overlap.first, life).resend(), seen_by(overlap.second, life).revoke()
        )
        assert outcome.waited
        assert outcome.second.state is InvitationState.REVOKED
        assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
        assert (await life.operation(outcome.first.id)).done

    @pytest.mark.parametrize("action", ["resend", "accept", "revoke"])
    async def test_a_repeat_with_the_same_key_is_what_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap, action: str
    ) -> None:
        life = await sent(storage)
        outcome = await overlap.run(
            *(
                _act(seen_by(process, life), action, use=key("k"))
                for process in (overlap.first, overlap.second)
            )
        )
        assert outcome.waited
        assert outcome.first == outcome.second
        assert not isinstance(outcome.first, BillingError)

    @on_postgresql
    @pytest.mark.parametrize("second", ["accept", "decline", "revoke"])
    async def test_ending_does_not_wait_for_who_claims_its_e_mail(
        self, storage: SqlStorage, overlap: Overlap, second: str
    ) -> None:
        """Those who end operations lock the invitation after: they would wait for each other."""
        life = await recorded(storage)
        delivery = await life.claim()
        assert await storage.mail.retry_delivery(delivery, START, START)
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, START, LEASE),
            _act(seen_by(overlap.second, life), second),
        )
        assert not outcome.waited
        found = await life.recorded()
        assert found == outcome.second
        assert found.state is not InvitationState.PENDING
        # The claim's outcome counts all the same.
        (delivery,) = outcome.first
        assert await storage.mail.finish_delivery(delivery, LATER)
        assert (await life.operation()).done

    @pytest.mark.parametrize("ending", ["accept", "decline", "revoke"])
    async def test_ending_leaves_an_e_mail_that_is_being_sent_to_its_worker(
        self, storage: SqlStorage, other_process: SqlStorage, ending: str
    ) -> None:
        life = await recorded(storage)
        delivery = await life.claim()
        await _act(life, ending, now=LATER)
        assert await other_process.mail.claim_deliveries(10, LATER, LEASE) == []
        assert not (await life.operation()).done
        assert await storage.mail.finish_delivery(delivery, LATER)
        assert (await life.operation()).done

    @on_postgresql
    @pytest.mark.parametrize("first", ["accept", "resend"])
    async def test_the_sweep_passes_over_what_others_hold(
        self, storage: SqlStorage, overlap: Overlap, first: str
    ) -> None:
        """Two processes whose clocks differ: by one it is in time, by the other it has lapsed."""
        life, lapsed = await sent(storage), await sent(storage)
        outcome = await overlap.run(
            _act(seen_by(overlap.first, life), first),
            overlap.second.retention.expire_invitations(LAPSES_AT, 10),
        )
        assert (outcome.waited, outcome.second) == (False, 1)
        assert (await lapsed.recorded()).state is InvitationState.EXPIRED
        assert (await life.recorded()).state is not InvitationState.EXPIRED

    @pytest.mark.parametrize(
        ("first", "state"),
        [
            ("accept", InvitationState.ACCEPTED),
            ("decline", InvitationState.DECLINED),
            ("revoke", InvitationState.REVOKED),
        ],
    )
    async def test_inviting_anew_sees_the_ending_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap, first: str, state: InvitationState
    ) -> None:
        """By the clock of who invites anew, the invitation that is being answered has lapsed."""
        life = await sent(storage)
        anew = new(life.made.invitation.email, now=LAPSES_AT)
        outcome = await overlap.run(
            _act(seen_by(overlap.first, life), first),
            overlap.second.invitations.create_invitation(anew, None),
        )
        assert outcome.waited
        assert outcome.second == anew.operation
        found = await life.recorded()
        assert (found.state, found.ended_at) == (state, START + MINUTE)
        assert found == outcome.first

    async def test_who_comes_second_sees_that_it_was_invited_anew(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """By its own clock it would have been in time."""
        life = await sent(storage)
        anew = new(life.made.invitation.email, now=LAPSES_AT)
        outcome = await overlap.run(
            overlap.first.invitations.create_invitation(anew, None),
            seen_by(overlap.second, life).answer(),
        )
        assert outcome.waited
        assert refused_as(outcome.second, InvitationState.EXPIRED)
        assert await life.customer_state() is CustomerState.INACTIVE

    async def test_inviting_anew_beside_the_sweep(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        life = await sent(storage)
        anew = new(life.made.invitation.email, now=LAPSES_AT)
        outcome = await overlap.run(
            overlap.first.retention.expire_invitations(LAPSES_AT, 10),
            overlap.second.invitations.create_invitation(anew, None),
        )
        assert outcome == (1, anew.operation, True)
        assert (await life.recorded()).state is InvitationState.EXPIRED

    async def test_inviting_anew_sees_the_resend_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """It gave the invitation more time, so that it has not lapsed after all."""
        life = await sent(storage)
        anew = new(life.made.invitation.email, now=LAPSES_AT)
        outcome = await overlap.run(
            seen_by(overlap.first, life).resend(),
            overlap.second.invitations.create_invitation(anew, None),
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.INVITATION_OPEN
        assert outcome.second.metadata["invitationId"] == life.made.invitation.id
        assert (await life.recorded()).state is InvitationState.PENDING

    async def test_of_two_for_the_same_address_the_later_names_the_first(
        self, overlap: Overlap
    ) -> None:
        outcome = await overlap.run(
            overlap.first.invitations.create_invitation(new("a@example.com"), key("one")),
            overlap.second.invitations.create_invitation(new("A@example.com"), key("other")),
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.INVITATION_OPEN
        assert outcome.second.metadata["operationId"] == outcome.first.id

    async def test_of_two_with_the_same_key_the_later_is_the_first(self, overlap: Overlap) -> None:
        outcome = await overlap.run(
            overlap.first.invitations.create_invitation(new("a@example.com"), key("k")),
            overlap.second.invitations.create_invitation(new("a@example.com"), key("k")),
        )
        assert outcome.waited
        assert outcome.first == outcome.second

    @on_postgresql
    async def test_a_repeat_is_known_whenever_the_first_commits(self, overlap: Overlap) -> None:
        """It has read nothing before it has the key for itself."""
        outcome = await overlap.run(
            overlap.first.invitations.create_invitation(new("a@example.com"), key("k")),
            overlap.second.invitations.create_invitation(new("a@example.com"), key("k")),
            stop_before="pg_advisory_xact_lock",
        )
        assert not outcome.waited
        assert outcome.first == outcome.second

    async def test_of_two_different_calls_with_the_same_key_the_later_is_refused(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """One makes an operation, the other does not: their keys are in two tables."""
        other = await recorded(storage)
        revoked = other.made.invitation.id
        outcome = await overlap.run(
            overlap.first.invitations.create_invitation(new(), key("k", "one")),
            overlap.second.invitations.revoke_invitation(revoked, LATER, key("k", "another")),
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.IDEMPOTENCY_KEY_REUSED
        assert (await other.recorded()).state is InvitationState.PENDING


class TestCustomers:
    @pytest.mark.parametrize(
        ("first", "second", "state"),
        [
            (OperationKind.SUSPEND, OperationKind.ACTIVATE, CustomerState.ACTIVE),
            (OperationKind.ACTIVATE, OperationKind.SUSPEND, CustomerState.SUSPENDED),
        ],
    )
    async def test_the_later_change_counts(
        self,
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
                change(first, made.customer, LATER), None
            ),
            overlap.second.customers.change_customer_state(change(second, made.customer), None),
        )
        assert outcome.waited
        found = await storage.customers.get_customer(made.customer.id)
        assert found
        assert (found.state, found.modified_at) == (state, LATER)

    async def test_of_two_with_the_same_key_the_later_is_the_first(self, overlap: Overlap) -> None:
        outcome = await overlap.run(
            overlap.first.customers.create_customer(new_customer(), key("k")),
            overlap.second.customers.create_customer(new_customer(), key("k")),
        )
        assert outcome.waited
        assert outcome.first == outcome.second


class TestOneBatch:
    """Those that share a transaction see what the ones before them did."""

    async def test_of_several_outcomes_of_a_claim_the_first_counts(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        delivery = await claimed(storage)
        second = overlap.second
        outcomes = await overlap.in_one_batch(
            second.mail.retry_delivery(delivery, LATER, START),
            second.mail.finish_delivery(delivery, START),
            second.mail.fail_delivery(delivery, REFUSED, START),
        )
        assert outcomes == [True, False, False]
        assert await storage.operations.get_operation(given.id) == given

    async def test_of_two_deletes_one_finds_the_operation(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        await storage.mail.finish_delivery(await claimed(storage), START)
        deletes = (
            overlap.second.operations.delete_operation(given.id, LATER, None) for _ in range(2)
        )
        assert await overlap.in_one_batch(*deletes) == [True, False]

    async def test_of_two_cancels_the_later_changes_nothing(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        first, second = await overlap.in_one_batch(
            overlap.second.operations.cancel_operation(given.id, LATER, None),
            overlap.second.operations.cancel_operation(given.id, LATER + LEASE, None),
        )
        assert first == second == await storage.operations.get_operation(given.id)

    async def test_the_latest_change_of_a_customer_counts(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        made = new_customer()
        await storage.customers.create_customer(made, None)
        kinds = (OperationKind.SUSPEND, OperationKind.ACTIVATE)
        await overlap.in_one_batch(
            *(
                overlap.second.customers.change_customer_state(
                    change(kind, made.customer, LATER), None
                )
                for kind in kinds
            )
        )
        assert await storage.customers.get_customer(made.customer.id) == made.customer._replace(
            modified_at=LATER
        )

    async def test_of_two_for_the_same_address_the_later_names_the_first(
        self, overlap: Overlap
    ) -> None:
        first, second = await overlap.in_one_batch(
            *(
                overlap.second.invitations.create_invitation(new("a@example.com"), None)
                for _ in range(2)
            )
        )
        assert second.reason is Reason.INVITATION_OPEN
        assert second.metadata["operationId"] == first.id

    async def test_of_two_with_the_same_key_the_later_is_the_first(self, overlap: Overlap) -> None:
        first, second = await overlap.in_one_batch(
            *(overlap.second.invitations.create_invitation(new(), key("k")) for _ in range(2))
        )
        assert first == second

    async def test_two_claims_share_what_is_due(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = {(await invited(storage)).id for _ in range(4)}
        claims = await overlap.in_one_batch(
            *(overlap.second.mail.claim_deliveries(2, START, LEASE) for _ in range(2))
        )
        assert {each.operation_id for found in claims for each in found} == given


class TestAdministration:
    async def test_a_role_for_a_reseller_that_is_being_removed(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        outcome = await overlap.run(
            overlap.first.administration.remove_reseller(RESELLER, START),
            overlap.second.administration.grant_role("subject", RESELLER, Role.OWNER, START),
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.NOT_FOUND
        assert await storage.administration.list_roles() == []

    async def test_a_reseller_that_is_removed_while_a_role_for_it_is_given(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        outcome = await overlap.run(
            overlap.first.administration.grant_role("subject", RESELLER, Role.OWNER, START),
            overlap.second.administration.remove_reseller(RESELLER, START),
        )
        assert outcome == (True, True, True)
        assert await storage.administration.list_roles() == []

    @on_postgresql
    async def test_a_claim_passes_over_the_e_mails_of_a_reseller_that_is_being_suspended(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        await invited(storage)
        outcome = await overlap.run(
            overlap.first.administration.suspend_reseller(RESELLER, START),
            overlap.second.mail.claim_deliveries(10, START, LEASE),
        )
        assert outcome == (True, [], False)

    @on_postgresql
    async def test_suspending_a_reseller_does_not_wait_for_who_claims_its_e_mails(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """Who claims locks the reseller after: they would wait for each other."""
        given = await invited(storage)
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, START, LEASE),
            overlap.second.administration.suspend_reseller(RESELLER, START),
        )
        assert not outcome.waited
        (delivery,) = outcome.first
        # It is being sent already; what comes of it counts, and another try is held.
        assert await storage.mail.retry_delivery(delivery, LATER, LATER)
        assert await storage.mail.claim_deliveries(10, LATER, LEASE) == []
        assert await storage.administration.resume_reseller(RESELLER, LATER)
        (delivery,) = await storage.mail.claim_deliveries(10, LATER, LEASE)
        assert delivery.operation_id == given.id

    @on_postgresql
    async def test_a_claim_holds_nothing_of_a_reseller_that_is_being_resumed(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """It would be held for ever."""
        given = await invited(storage)
        delivery = await claimed(storage)
        await storage.administration.suspend_reseller(RESELLER, START)
        await storage.mail.retry_delivery(delivery, START, START)
        outcome = await overlap.run(
            overlap.first.administration.resume_reseller(RESELLER, START),
            overlap.second.mail.claim_deliveries(10, START, LEASE),
        )
        (delivery,) = outcome.second or await storage.mail.claim_deliveries(10, START, LEASE)
        assert delivery.operation_id == given.id

    async def test_a_key_for_an_account_that_is_being_removed(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        await storage.administration.add_service_account("account", "An account", START)
        outcome = await overlap.run(
            overlap.first.administration.remove_service_account("account", START),
            overlap.second.administration.add_account_key(
                AccountKey("key", "account", "RSA_2048", "", START)
            ),
        )
        assert outcome.waited
        assert outcome.second.reason is Reason.NOT_FOUND
        assert await storage.administration.list_account_keys() == []

    async def test_an_account_whose_id_is_being_given_a_role(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """It would take the role of the outside issuer's subject."""
        outcome = await overlap.run(
            overlap.first.administration.grant_role("someone", RESELLER, Role.OWNER, START),
            overlap.second.administration.add_service_account("someone", "An account", START),
        )
        assert outcome.waited
        assert isinstance(outcome.second, BillingError)
        assert "has roles already" in outcome.second.message
        assert await storage.administration.list_service_accounts() == []
        assert len(await storage.administration.list_roles("someone")) == 1

    async def test_a_role_for_an_account_that_is_being_added(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        outcome = await overlap.run(
            overlap.first.administration.add_service_account("account", "An account", START),
            overlap.second.administration.grant_role("account", RESELLER, Role.OWNER, START),
        )
        assert (outcome.waited, outcome.second) == (True, True)
        assert [each.id for each in await storage.administration.list_service_accounts()] == [
            "account"
        ]

    async def test_an_account_that_is_being_given_a_role_is_removed_with_it(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        await storage.administration.add_service_account("account", "An account", START)
        outcome = await overlap.run(
            overlap.first.administration.grant_role("account", RESELLER, Role.OWNER, START),
            overlap.second.administration.remove_service_account("account", START),
        )
        assert (outcome.waited, outcome.second) == (True, True)
        assert await storage.administration.list_roles("account") == []


class TestClearing:
    @on_postgresql
    async def test_processes_pass_over_what_others_are_clearing(
        self, storage: SqlStorage, overlap: Overlap, database_url: str
    ) -> None:
        for number in range(4):
            await storage.access.revoke_token(VerifiedToken(b"%d" % number, "subject", None, START))
        outcome = await overlap.run(
            overlap.first.retention.clear_revoked_tokens(START + DAY, 3),
            overlap.second.retention.clear_revoked_tokens(START + DAY, 3),
        )
        assert outcome == (3, 1, False)
        assert query(database_url, "SELECT count(*) FROM revoked_tokens") == [(0,)]

    @on_postgresql
    async def test_clearing_passes_over_an_operation_that_is_being_given_a_key(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        given = await invited(storage)
        await storage.operations.cancel_operation(given.id, START, None)
        outcome = await overlap.run(
            overlap.first.operations.cancel_operation(given.id, START + DAY, key("k")),
            overlap.second.retention.clear_operations(START + DAY, 10),
        )
        assert (outcome.waited, outcome.second) == (False, 0)
        repeated = await storage.operations.cancel_operation(given.id, START + DAY, key("k"))
        assert repeated == outcome.first


def _act(life: Life, name: str, **arguments: Any) -> Coroutine[Any, Any, Any]:
    """Returns the call of an action on an invitation."""
    match name:
        case "accept":
            return life.answer(InvitationAction.ACCEPT, **arguments)
        case "decline":
            return life.answer(InvitationAction.DECLINE, **arguments)
        case "revoke":
            return life.revoke(**arguments)
        case "resend":
            return life.resend(**arguments)
        case "expire":
            return life.storage.retention.expire_invitations(LAPSES_AT, 10)
    raise AssertionError(name)
