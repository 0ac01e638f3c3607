"""billing.v1.InvitationService."""

from functools import partial
from typing import ClassVar

from billing.v1 import invitation_pb2, invitation_service_pb2
from google.longrunning import operations_pb2

from server.domain.invitations import Invitation
from server.rpc.links import Links
from server.rpc.messages import invitation_lists
from server.rpc.messages import resource_names as names
from server.rpc.messages.invitation_lists import list_scope, wanted_invitations
from server.rpc.messages.invitations import (
    check_mask,
    invitation_not_found,
    new_email,
    to_billing,
)
from server.rpc.messages.operations import checked_resend, to_longrunning
from server.rpc.messages.paging import Pages
from server.rpc.messages.timestamps import timestamp
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.invitations import Invitations
from server.use_cases.operations import Operations


class InvitationService:
    """billing.v1.InvitationService over the use cases."""

    checks: ClassVar = {
        "ListInvitations": invitation_lists.CHECKS,
        "UpdateInvitation": (check_mask, new_email),
    }

    def __init__(
        self,
        invitations: Invitations,
        operations: Operations,
        links: Links,
        pages: Pages,
        link_prefix: str,
    ) -> None:
        """`link_prefix` is what stands before a link's secret."""
        self._invitations = invitations
        self._operations = operations
        self._links = links
        self._pages = pages
        self._link_prefix = link_prefix

    async def GetInvitation(
        self, request: invitation_service_pb2.GetInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        place = names.parse_name(request.name, names.INVITATIONS)
        found = await self._invitations.get(call.caller, *place)
        if found is None:
            raise invitation_not_found(request.name)
        return to_billing((await self._invitations.with_unsent([found]))[found.id])

    async def ListInvitations(
        self, request: invitation_service_pb2.ListInvitationsRequest, call: CallContext
    ) -> invitation_service_pb2.ListInvitationsResponse:
        wanted = wanted_invitations(request)
        page, token = await self._pages.read_part(
            request,
            list_scope(wanted, request.filter),
            partial(self._invitations.page, call.caller, wanted),
            to_billing,
        )
        return invitation_service_pb2.ListInvitationsResponse(
            invitations=page, next_page_token=token
        )

    async def ResendInvitation(
        self, request: invitation_service_pb2.ResendInvitationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        place = names.parse_name(request.name, names.INVITATIONS)
        resent = await self._invitations.resend(
            *(call.caller, *place, call.request_id, call.idempotency_key),
            dry_run=request.validate_only,
        )
        if resent is None:
            raise invitation_not_found(request.name)
        if isinstance(resent, Invitation):
            return checked_resend((await self._invitations.with_unsent([resent]))[resent.id])
        return to_longrunning(await self._operations.with_subject(resent))

    async def UpdateInvitation(
        self, request: invitation_service_pb2.UpdateInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        name = request.invitation.name
        place = names.parse_name(name, names.INVITATIONS, "invitation.name")
        email = new_email(request)
        found = (
            await self._invitations.get(call.caller, *place)
            if email is None
            else await self._invitations.correct(
                call.caller, *place, email, call.request_id, call.idempotency_key
            )
        )
        if found is None:
            raise invitation_not_found(name)
        return to_billing((await self._invitations.with_unsent([found]))[found.id])

    async def CreateInvitationLink(
        self, request: invitation_service_pb2.CreateInvitationLinkRequest, call: CallContext
    ) -> invitation_service_pb2.CreateInvitationLinkResponse:
        place = names.parse_name(request.name, names.INVITATIONS)
        made = await self._invitations.create_link(
            call.caller, *place, call.request_id, call.idempotency_key
        )
        if made is None:
            raise invitation_not_found(request.name)
        token, invitation = made
        return invitation_service_pb2.CreateInvitationLinkResponse(
            uri=self._link_prefix + token, expire_time=timestamp(invitation.expires_at)
        )

    async def RevokeInvitation(
        self, request: invitation_service_pb2.RevokeInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        place = names.parse_name(request.name, names.INVITATIONS)
        revoked = await self._invitations.revoke(
            call.caller, *place, call.request_id, call.idempotency_key
        )
        if revoked is None:
            raise invitation_not_found(request.name)
        return to_billing(revoked)

    async def AcceptInvitation(
        self, request: invitation_service_pb2.AcceptInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        return to_billing(await self._links.accept(request.token, call))

    async def DeclineInvitation(
        self, request: invitation_service_pb2.DeclineInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        return to_billing(await self._links.decline(request.token, call))
