from datetime import UTC, datetime, timedelta

from server.domain.access import Actor
from server.domain.customers import CustomerState
from server.domain.invitations import invite, link_token_hash, new_link_token

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_one_invitation_ties_its_records_together() -> None:
    new = invite(
        reseller_id="r",
        name="N",
        email="a@example.com",
        person={"tin": "77"},
        actor=Actor("s"),
        now=NOW,
        lifetime=timedelta(days=30),
    )
    assert new.operation.customer_id == new.customer.id == new.invitation.customer_id
    assert new.operation.billing_account_id == new.customer.billing_account_id
    assert new.invitation.operation_id == new.operation.id
    assert new.customer.state is CustomerState.ACCEPTANCE_REQUIRED
    assert not new.operation.done
    assert new.operation.created_by == "s"
    assert new.invitation.expires_at == NOW + timedelta(days=30)
    ids = (
        *(new.operation.id, new.customer.id, new.invitation.id),
        new.customer.billing_account_id,
    )
    assert len(set(ids)) == 4
    assert len({id_[3:] for id_ in ids}) == 1


def test_link_tokens_are_long_random_and_kept_as_a_hash() -> None:
    tokens = {new_link_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 36 for token in tokens)
    assert all(token.encode() not in link_token_hash(token) for token in tokens)
