from datetime import UTC, datetime, timedelta

from server.domain.customers import CustomerState
from server.domain.invitations import invite, link_token_hash, new_link_token, open_key

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_one_invitation_ties_its_records_together() -> None:
    new = invite(
        reseller_id="r",
        name="N",
        email="a@example.com",
        person={"tin": "77"},
        invited_by="s",
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
    assert len({new.operation.id, new.customer.id, new.customer.billing_account_id}) == 3


def test_open_key_is_the_address_and_the_tax_number() -> None:
    key = open_key("r", "Ivan@Example.com", "77")
    assert key == open_key("r", "iVAN@eXAMPLE.COM", " 77 ")
    assert key != open_key("r", "ivan@example.com", "78")
    assert key != open_key("q", "ivan@example.com", "77")
    assert key != open_key("r", "ivan@example.co", "m77")


def test_link_tokens_are_long_random_and_kept_as_a_hash() -> None:
    tokens = {new_link_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 36 for token in tokens)
    assert all(token.encode() not in link_token_hash(token) for token in tokens)
