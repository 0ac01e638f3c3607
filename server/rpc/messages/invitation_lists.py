"""Which invitations to list, as requests say it."""

from collections.abc import Sequence
from typing import Any

from billing.v1 import invitation_service_pb2

from server.domain.filters import Filter
from server.domain.invitations import InvitationList, InvitationState
from server.domain.mail import DeliveryState
from server.rpc.messages import filter_fields, filters
from server.rpc.messages import resource_names as names
from server.rpc.messages.order import oldest_first

_FIELDS: Sequence[filter_fields.Field[Any]] = (
    filter_fields.enum_field("state", {state.name: state for state in InvitationState}),
    filter_fields.address_field("email"),
    filter_fields.enum_field("delivery.state", {state.name: state for state in DeliveryState}),
    *(
        filter_fields.time_field(field)
        for field in ("createTime", "expireTime", "endTime", "resendTime")
    ),
)


def wanted_invitations(request: invitation_service_pb2.ListInvitationsRequest) -> InvitationList:
    """Returns which invitations a request asks for. Raises FIELDS_INVALID."""
    return InvitationList(
        names.parse_parent(request.parent),
        _filter(request),
        oldest_first=oldest_first(request.order_by),
    )


def _filter(request: invitation_service_pb2.ListInvitationsRequest) -> Filter | None:
    customer = filter_fields.customer_field(names.parse_parent(request.parent))
    return filters.ListFilter(*_FIELDS, customer).parse(request.filter)


# What is wrong about a request, which `wanted_invitations` tells one by one.
CHECKS = (_filter, lambda request: oldest_first(request.order_by))


def list_scope(wanted: InvitationList, written_filter: str) -> Sequence[str]:
    """Returns the scope of page tokens."""
    return (
        *("invitations", wanted.reseller_id),
        written_filter if wanted.filter_ else "",
        "oldest first" if wanted.oldest_first else "",
        "",  # as in the tokens of servers before this one, which may run beside it
    )
