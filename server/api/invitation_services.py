"""billing.v1.InvitationService."""

from billing.v1 import invitation_pb2, invitation_service_pb2
from google.longrunning import operations_pb2

from server.api import names
from server.api.calls import Call
from server.api.invitations import Invitations
from server.api.operations import google_style, timestamp
from server.domain.invitations import Invitation


class InvitationService:
    """billing.v1.InvitationService over the use cases."""

    def __init__(self, invitations: Invitations) -> None:
        self._invitations = invitations

    async def GetInvitation(
        self, request: invitation_service_pb2.GetInvitationRequest, call: Call
    ) -> invitation_pb2.Invitation:
        return _message(await self._invitations.get(request.name, call))

    async def ListInvitations(
        self, request: invitation_service_pb2.ListInvitationsRequest, call: Call
    ) -> invitation_service_pb2.ListInvitationsResponse:
        page, token = await self._invitations.page(
            request.parent, request.filter, request.page_size, request.page_token, call
        )
        return invitation_service_pb2.ListInvitationsResponse(
            invitations=map(_message, page), next_page_token=token
        )

    async def ResendInvitation(
        self, request: invitation_service_pb2.ResendInvitationRequest, call: Call
    ) -> operations_pb2.Operation:
        return google_style(await self._invitations.resend(request.name, call))

    async def RevokeInvitation(
        self, request: invitation_service_pb2.RevokeInvitationRequest, call: Call
    ) -> invitation_pb2.Invitation:
        return _message(await self._invitations.revoke(request.name, call))

    async def AcceptInvitation(
        self, request: invitation_service_pb2.AcceptInvitationRequest, call: Call
    ) -> invitation_pb2.Invitation:
        return _message(
            await self._invitations.accept(request.token, call.address, call.idempotency_key)
        )

    async def DeclineInvitation(
        self, request: invitation_service_pb2.DeclineInvitationRequest, call: Call
    ) -> invitation_pb2.Invitation:
        return _message(
            await self._invitations.decline(request.token, call.address, call.idempotency_key)
        )


def _message(invitation: Invitation) -> invitation_pb2.Invitation:
    reseller_id = invitation.reseller_id
    return invitation_pb2.Invitation(
        name=names.name(reseller_id, names.INVITATIONS, invitation.id),
        reseller=names.reseller_name(reseller_id),
        customer=names.name(reseller_id, names.CUSTOMERS, invitation.customer_id),
        email=invitation.email,
        state=invitation_pb2.Invitation.State.Value(invitation.state.name),
        create_time=timestamp(invitation.created_at),
        expire_time=timestamp(invitation.expires_at),
        end_time=timestamp(invitation.ended_at) if invitation.ended_at else None,
        resend_time=timestamp(invitation.resent_at) if invitation.resent_at else None,
    )
