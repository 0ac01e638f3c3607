"""Invitation records as messages."""

from billing.v1 import customer_pb2, invitation_pb2, invitation_service_pb2

from server.domain.errors import BillingError, Reason, Resource, invalid_field
from server.domain.invitations import Invitation
from server.domain.mail import DeliveryError, EmailDelivery
from server.rpc.formats.addresses import address_or_none
from server.rpc.messages import resource_names as names
from server.rpc.messages.invitation_options import set_options
from server.rpc.messages.masks import read_mask
from server.rpc.messages.timestamps import timestamp

_SETTABLE = ("email",)


def to_billing(invitation: Invitation) -> invitation_pb2.Invitation:
    """Returns the record as billing.v1.Invitation."""
    reseller_id = invitation.reseller_id
    message = invitation_pb2.Invitation(
        name=names.name(reseller_id, names.INVITATIONS, invitation.id),
        reseller=names.reseller_name(reseller_id),
        customer=names.name(reseller_id, names.CUSTOMERS, invitation.customer_id),
        email=invitation.email,
        state=invitation_pb2.Invitation.State.Value(invitation.state.name),
        create_time=timestamp(invitation.created_at),
        expire_time=timestamp(invitation.expires_at),
        end_time=timestamp(invitation.ended_at) if invitation.ended_at else None,
        resend_time=timestamp(invitation.resent_at) if invitation.resent_at else None,
        delivery=delivery_to_billing(invitation.delivery) if invitation.delivery else None,
        customer_state=customer_pb2.Customer.State.Value(
            invitation.customer_state.name if invitation.customer_state else "STATE_UNSPECIFIED"
        ),
    )
    set_options(message, invitation.options)
    return message


def delivery_to_billing(delivery: EmailDelivery) -> invitation_pb2.Invitation.Delivery:
    """Returns how an e-mail stands as billing.v1.Invitation.Delivery."""
    state = delivery.state.name if delivery.state else "STATE_UNSPECIFIED"
    next_at, sent_at = delivery.next_attempt_at, delivery.sent_at
    return invitation_pb2.Invitation.Delivery(
        state=invitation_pb2.Invitation.Delivery.State.Value(state),
        attempts=delivery.attempts,
        last_error=delivery_error(delivery.last_error) if delivery.last_error else None,
        next_attempt_time=timestamp(next_at) if next_at else None,
        sent_time=timestamp(sent_at) if sent_at else None,
    )


def delivery_error(error: DeliveryError) -> invitation_pb2.Invitation.Delivery.Error:
    """Returns what went wrong as billing.v1.Invitation.Delivery.Error."""
    return invitation_pb2.Invitation.Delivery.Error(
        message=error.message,
        smtp_code=error.smtp_code or 0,
        enhanced_status=error.enhanced_status or "",
    )


def invitation_not_found(name: str) -> BillingError:
    """Returns the refusal of an invitation's name."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such invitation; check its name.",
        resource=Resource("billing.v1.Invitation", name[:100]),
    )


def check_mask(request: invitation_service_pb2.UpdateInvitationRequest) -> None:
    """Raises FIELDS_INVALID for a mask that names more than the address."""
    read_mask(request.update_mask, request.invitation.DESCRIPTOR, _SETTABLE)


def new_email(request: invitation_service_pb2.UpdateInvitationRequest) -> str | None:
    """Returns the address to set, in normal form; None where nothing is. Raises FIELDS_INVALID.

    Without a mask what is not empty is set; what the service alone sets is then passed over.
    """
    email = request.invitation.email
    if not email and not request.update_mask.paths:
        return None
    address = address_or_none(email)
    if address is None:
        raise invalid_field("invitation.email", "Must be an e-mail address.")
    return address
