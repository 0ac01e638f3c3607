"""An invitation's options from and to messages."""

from collections.abc import Sequence
from datetime import timedelta

from billing.v1 import invitation_pb2
from billing.v1.customer_service_pb2 import InviteCustomerRequest

from server.domain.errors import FieldViolation, invalid_fields
from server.domain.invitation_options import (
    LONGEST_LIFETIME,
    LONGEST_REMINDER_D,
    NO_OPTIONS,
    SHORTEST_LIFETIME,
    DeliveryMethod,
    InvitationOptions,
)
from server.domain.origins import origin_of
from server.rpc.messages.durations import read_duration

_METHODS = {
    invitation_pb2.Invitation.DELIVERY_METHOD_UNSPECIFIED: DeliveryMethod.EMAIL,
    invitation_pb2.Invitation.EMAIL: DeliveryMethod.EMAIL,
    invitation_pb2.Invitation.LINK: DeliveryMethod.LINK,
}


def read_options(request: InviteCustomerRequest) -> InvitationOptions:
    """Returns the options in a request that has been validated. Raises FIELDS_INVALID."""
    wrong: list[FieldViolation] = []
    lifetime: timedelta | None = None
    if request.HasField("time_to_live"):
        try:
            lifetime = read_duration(request.time_to_live, SHORTEST_LIFETIME, LONGEST_LIFETIME)
        except ValueError as error:
            wrong.append(FieldViolation("time_to_live", str(error)))
    method = _METHODS.get(request.delivery_method)
    if method is None:
        wrong.append(FieldViolation("delivery_method", "Must be EMAIL or LINK."))
    if request.return_uri:
        try:
            origin_of(request.return_uri)
        except ValueError as error:
            wrong.append(FieldViolation("return_uri", f"It {error}."))
    reminders = None
    if request.reminder_days:
        try:
            reminders = _reminders(request.reminder_days)
        except ValueError as error:
            wrong.append(FieldViolation("reminder_days", str(error)))
    if wrong:
        raise invalid_fields(*wrong)
    options = InvitationOptions(
        request.language_code,
        request.inviter_display_name,
        request.note.replace("\r\n", "\n"),
        lifetime,
        request.return_uri,
        method=method or DeliveryMethod.EMAIL,
        reminders=reminders,
    )
    return NO_OPTIONS if options == NO_OPTIONS else options


def _reminders(days: Sequence[int]) -> tuple[int, ...]:
    """Returns when to remind, the earliest first. Raises ValueError."""
    if list(days) == [0]:
        return ()
    if len(set(days)) < len(days) or not all(1 <= day <= LONGEST_REMINDER_D for day in days):
        raise ValueError(
            f"Must be days from 1 to {LONGEST_REMINDER_D}, each once, or 0 alone for no reminders."
        )
    return tuple(sorted(days, reverse=True))


def set_options(message: invitation_pb2.Invitation, options: InvitationOptions) -> None:
    """Shows the options in an invitation."""
    if options is NO_OPTIONS:
        message.delivery_method = invitation_pb2.Invitation.EMAIL
        return
    message.language_code = options.language
    message.inviter_display_name = options.inviter
    message.note = options.note
    if options.lifetime:
        message.time_to_live.FromTimedelta(options.lifetime)
    message.return_uri = options.return_uri
    if options.reminders is not None:
        message.reminder_days.extend(options.reminders or (0,))
    message.delivery_method = invitation_pb2.Invitation.DeliveryMethod.Value(options.method.name)
