"""The state machine, whole: every action in every state, and what time does."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.access import Actor
from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    CUSTOMER_STATES,
    Invitation,
    InvitationAction,
    InvitationState,
    as_of,
    invite,
    is_link_token,
    link_token_hash,
    new_link_token,
    state_after,
    unsent,
)

NOW = datetime(2030, 1, 2, tzinfo=UTC)
TABLE = """
            accept    decline   resend    correct   create_link  revoke    expire
pending     accepted  declined  pending   pending   pending      revoked   expired
accepted    accepted  -         -         -         -            -         -
declined    -         declined  -         -         -            -         -
revoked     -         -         -         -         -            revoked   -
expired     -         -         -         -         -            -         expired
"""
HEAD, *ROWS = (line.split() for line in TABLE.strip().splitlines())
CELLS = [
    (InvitationState(state), InvitationAction(action), after)
    for state, *row in ROWS
    for action, after in zip(HEAD, row, strict=True)
]


def test_the_table_has_every_action_in_every_state() -> None:
    assert {cell[:2] for cell in CELLS} == {
        (state, action) for state in InvitationState for action in InvitationAction
    }


@pytest.mark.parametrize(("state", "action", "after"), CELLS)
def test_an_action_leads_from_state_to_state_or_is_refused(
    state: InvitationState, action: InvitationAction, after: str
) -> None:
    if after != "-":
        assert state_after(action, state) is InvitationState(after)
        return
    with pytest.raises(BillingError) as refused:
        state_after(action, state)
    assert refused.value.reason is Reason.INVITATION_STATE
    assert refused.value.metadata == {"state": state.name}
    assert state.name in refused.value.message


@given(st.lists(st.sampled_from(InvitationAction)))
def test_what_has_ended_stays_as_it_ended(actions: list[InvitationAction]) -> None:
    state, ended = InvitationState.PENDING, None
    for action in actions:
        try:
            state = state_after(action, state)
        except BillingError:
            assert ended
        if ended:
            assert state is ended
        elif state is not InvitationState.PENDING:
            ended = state


def test_the_customer_goes_with_the_invitation() -> None:
    assert CUSTOMER_STATES == {
        InvitationState.PENDING: CustomerState.ACCEPTANCE_REQUIRED,
        InvitationState.ACCEPTED: CustomerState.ACTIVE,
        InvitationState.DECLINED: CustomerState.INACTIVE,
        InvitationState.REVOKED: CustomerState.INACTIVE,
        InvitationState.EXPIRED: CustomerState.INACTIVE,
    }


def invitation() -> Invitation:
    return invite(
        reseller_id="r",
        name="N",
        email="a@example.com",
        person={},
        actor=Actor("s"),
        now=NOW,
        lifetime=timedelta(days=30),
    ).invitation


def test_it_reads_as_expired_the_moment_it_lapses() -> None:
    made = invitation()
    lapses_at = NOW + timedelta(days=30)
    assert as_of(made, lapses_at - timedelta(microseconds=1)) == made
    for later in (timedelta(), timedelta(microseconds=1), timedelta(days=1000)):
        expired = as_of(made, lapses_at + later)
        assert expired.state is InvitationState.EXPIRED
        assert expired.ended_at == lapses_at


def test_time_does_nothing_to_what_has_ended() -> None:
    for state in InvitationState:
        if state is not InvitationState.PENDING:
            ended = invitation()._replace(state=state, ended_at=NOW)
            assert as_of(ended, NOW + timedelta(days=1000)) == ended


def test_an_e_mail_that_is_not_sent_says_why() -> None:
    failure = unsent(InvitationState.REVOKED)
    assert failure.reason is Reason.INVITATION_STATE
    assert failure.metadata == {"state": "REVOKED"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "a" * 31, "a" * 34, "a" * 37, "w" + "a" * 32, "a" * 31 + "é", "a" * 31 + "\n"),
        *("a" * 32 + "\n", "a" * 33 + "\n", "a" * 36 + "\n"),
        *("a" * 31 + "+", "a" * 31 + "\0", "а" * 32, "a" * 1_000_000),
    ],
)
def test_what_is_no_links_secret(text: str) -> None:
    assert not is_link_token(text)


def test_every_secret_made_is_one() -> None:
    assert all(is_link_token(new_link_token()) for _ in range(1000))


@pytest.mark.parametrize("digits", ["", "v"])
def test_secrets_with_fewer_digits_in_front_still_are(digits: str) -> None:
    old = digits + "A" * 32
    assert is_link_token(old)
    assert link_token_hash(old) == digits.encode() + sha256(old.encode()).digest()
