"""The numbers that the database keeps for states, kinds and types."""

from collections.abc import Iterable, Mapping
from enum import Enum

import pytest

from server.domain.customers import CustomerState
from server.domain.events import EventType
from server.domain.invitations import InvitationState
from server.domain.operations import OperationKind
from server.domain.suppressions import SuppressionReason
from server.domain.webhooks import ContentType
from server.storage.schema import codes


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([each for each in CustomerState if each != "deleted"], codes.CUSTOMER_STATE_CODES),
        (InvitationState, codes.INVITATION_STATE_CODES),
        (OperationKind, codes.OPERATION_KIND_CODES),
        (EventType, codes.EVENT_TYPE_CODES),
        (ContentType, codes.CONTENT_TYPE_CODES),
        (SuppressionReason, codes.SUPPRESSION_REASON_CODES),
    ],
)
def test_every_value_has_a_number_of_its_own(
    values: Iterable[Enum], numbers: Mapping[Enum, int]
) -> None:
    assert set(numbers) == set(values)
    assert len(set(numbers.values())) == len(numbers)
