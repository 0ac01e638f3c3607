"""What a request to invite says of the invitation itself."""

from billing.v1.customer_service_pb2 import InviteCustomerRequest

from server.domain.invitation_options import NO_OPTIONS, InvitationOptions


def read_options(request: InviteCustomerRequest) -> InvitationOptions:
    """Returns the options in a request that has been validated."""
    options = InvitationOptions(
        language=request.language_code,
        inviter=request.inviter_display_name,
        note=request.note.replace("\r\n", "\n"),
    )
    return NO_OPTIONS if options == NO_OPTIONS else options
