"""Each state of an invitation is shown everywhere."""

import pytest
from billing.v1 import invitation_pb2

from server.domain.invitations import InvitationState
from server.rpc.pages import invitation_page
from server.rpc.pages.texts import TEXTS


@pytest.mark.parametrize("state", InvitationState)
def test_each_state_is_in_the_contract_and_on_the_page(state: InvitationState) -> None:
    assert invitation_pb2.Invitation.State.Value(state.name)
    assert state in invitation_page._STATUSES
    for texts in TEXTS.values():
        assert state.value in texts.pages
        assert state is InvitationState.PENDING or state.value in texts.too_late
