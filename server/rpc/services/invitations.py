"""billing.v1.InvitationService."""

from billing.v1 import invitation_pb2, invitation_service_pb2
from google.longrunning import operations_pb2

from server.domain.errors import BillingError, Reason, Resource
from server.domain.invitations import Invitation, InvitationState
from server.domain.operations import Deferral
from server.rpc.formats.addresses import address_or_none
from server.rpc.links import Links
from server.rpc.messages import resource_names as names
from server.rpc.messages.filters import invalid_filter, parse_filter
from server.rpc.messages.operations import google_style, timestamp
from server.rpc.messages.paging import Pages, page_size
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.invitations import Invitations

_STATES = {state.name: state for state in InvitationState}


class InvitationService:
    """billing.v1.InvitationService over the use cases."""

    def __init__(self, invitations: Invitations, links: Links, pages: Pages) -> None:
        self._invitations = invitations
        self._links = links
        self._pages = pages

    async def GetInvitation(
        self, request: invitation_service_pb2.GetInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        place = names.parse_name(request.name, names.INVITATIONS)
        found = await self._invitations.get(call.caller, *place)
        if found is None:
            raise _not_found(request.name)
        deferrals = await self._invitations.deferrals([found])
        return _message(found, deferrals.get(found.id))

    async def ListInvitations(
        self, request: invitation_service_pb2.ListInvitationsRequest, call: CallContext
    ) -> invitation_service_pb2.ListInvitationsResponse:
        reseller_id = names.parse_parent(request.parent)
        state, email = _parse_filter(request.filter)
        size = page_size(request.page_size)
        scope = ("invitations", reseller_id, state or "", email or "")
        after = self._pages.cursor(request.page_token, *scope)
        rows = await self._invitations.page(call.caller, reseller_id, state, email, size + 1, after)
        deferrals = await self._invitations.deferrals(rows[:size])
        page, token = await self._pages.page(
            rows, size, scope, lambda row: _message(row, deferrals.get(row.id))
        )
        return invitation_service_pb2.ListInvitationsResponse(
            invitations=page, next_page_token=token
        )

    async def ResendInvitation(
        self, request: invitation_service_pb2.ResendInvitationRequest, call: CallContext
    ) -> operations_pb2.Operation:
        place = names.parse_name(request.name, names.INVITATIONS)
        operation = await self._invitations.resend(call.caller, *place, call.idempotency_key)
        if operation is None:
            raise _not_found(request.name)
        return google_style(operation)

    async def RevokeInvitation(
        self, request: invitation_service_pb2.RevokeInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        place = names.parse_name(request.name, names.INVITATIONS)
        revoked = await self._invitations.revoke(call.caller, *place, call.idempotency_key)
        if revoked is None:
            raise _not_found(request.name)
        return _message(revoked)

    async def AcceptInvitation(
        self, request: invitation_service_pb2.AcceptInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        return _message(await self._links.accept(request.token, call.address, call.idempotency_key))

    async def DeclineInvitation(
        self, request: invitation_service_pb2.DeclineInvitationRequest, call: CallContext
    ) -> invitation_pb2.Invitation:
        return _message(
            await self._links.decline(request.token, call.address, call.idempotency_key)
        )


def _message(invitation: Invitation, deferral: Deferral | None = None) -> invitation_pb2.Invitation:
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
        delivery=_delivery(deferral) if deferral else None,
    )


def _delivery(deferral: Deferral) -> invitation_pb2.Invitation.Delivery:
    return invitation_pb2.Invitation.Delivery(
        attempts=deferral.attempt,
        last_error=invitation_pb2.Invitation.Delivery.Error(message=deferral.problem),
        next_attempt_time=timestamp(deferral.next_attempt_at),
    )


def _not_found(name: str) -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such invitation; check its name.",
        resource=Resource("billing.v1.Invitation", name[:100]),
    )


def _parse_filter(text: str) -> tuple[InvitationState | None, str | None]:
    """Returns the state and the address in normal form that a filter asks for."""
    terms = parse_filter(text, ("state", "email"))
    state, email = terms.get("state"), terms.get("email")
    if state is not None and state not in _STATES:
        raise invalid_filter(f"state must be one of {', '.join(_STATES)}.")
    if email is not None:
        email = address_or_none(email)
        if email is None:
            raise invalid_filter("email must be an e-mail address.")
    return None if state is None else _STATES[state], email
