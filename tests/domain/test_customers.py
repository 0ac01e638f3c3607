from datetime import UTC, datetime

import pytest

from server.domain.access import Actor
from server.domain.customers import (
    TARGETS,
    CustomerState,
    create_reseller_served,
    finished_operation,
    state_after,
)
from server.domain.errors import BillingError, Reason
from server.domain.operations import OperationKind

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ACTIVATE, SUSPEND = OperationKind.ACTIVATE, OperationKind.SUSPEND

# None: it can't be done from there.
TABLE = {
    (ACTIVATE, CustomerState.ACCEPTANCE_REQUIRED): None,
    (ACTIVATE, CustomerState.ACTIVE): CustomerState.ACTIVE,
    (ACTIVATE, CustomerState.SUSPENDED): CustomerState.ACTIVE,
    (ACTIVATE, CustomerState.INACTIVE): None,
    (ACTIVATE, CustomerState.DELETED): None,
    (SUSPEND, CustomerState.ACCEPTANCE_REQUIRED): None,
    (SUSPEND, CustomerState.ACTIVE): CustomerState.SUSPENDED,
    (SUSPEND, CustomerState.SUSPENDED): CustomerState.SUSPENDED,
    (SUSPEND, CustomerState.INACTIVE): None,
    (SUSPEND, CustomerState.DELETED): None,
}


def test_the_table_has_every_change_in_every_state() -> None:
    assert set(TABLE) == {(kind, state) for kind in TARGETS for state in CustomerState}


@pytest.mark.parametrize(("kind", "before", "after"), [(*key, to) for key, to in TABLE.items()])
def test_an_operation_leads_from_state_to_state_or_is_refused(
    kind: OperationKind, before: CustomerState, after: CustomerState | None
) -> None:
    if after:
        assert state_after(kind, "c", before) is after
        return
    with pytest.raises(BillingError) as refused:
        state_after(kind, "c", before)
    assert refused.value.reason is Reason.CUSTOMER_STATE
    assert refused.value.metadata == {"customerId": "c", "state": before.value}
    assert before.value in refused.value.message


def test_a_reseller_served_customer_is_active_at_once() -> None:
    new = create_reseller_served(
        reseller_id="r", name="N", person={"tin": "77"}, actor=Actor("s"), now=NOW
    )
    assert new.customer.state is CustomerState.ACTIVE
    assert new.operation.done
    assert new.operation.failure is None
    assert new.operation.customer_id == new.customer.id
    assert new.operation.billing_account_id == new.customer.billing_account_id


def test_each_operation_has_its_own_id() -> None:
    customer = create_reseller_served(
        reseller_id="r", name="N", person={}, actor=Actor("s"), now=NOW
    ).customer
    made = {finished_operation(ACTIVATE, customer, "s", NOW).id for _ in range(100)}
    assert len(made) == 100
