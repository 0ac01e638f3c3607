"""Which customers to list, as requests say it."""

from collections.abc import Sequence

from billing.v1 import customer_service_pb2

from server.domain.customers import CustomerList, CustomerState
from server.rpc.messages import filter_fields, filters
from server.rpc.messages import resource_names as names
from server.rpc.messages.order import oldest_first

_FILTER = filters.ListFilter(
    filter_fields.enum_field("state", {state.name: state for state in CustomerState}),
    filter_fields.text_field("displayName", is_plain=True),
    filter_fields.address_field("email"),
    filter_fields.text_field("externalId", is_plain=True),
    filter_fields.map_field("labels"),
    filter_fields.text_field("billingAccountId"),
    *(
        filter_fields.text_field(f"person.{field}", is_plain=True)
        for field in ("name", "longname", "email", "tin")
    ),
    *(filter_fields.time_field(field) for field in ("createTime", "updateTime", "deleteTime")),
)

# What is wrong about a request, which `wanted_customers` tells one by one.
CHECKS = (
    lambda request: _FILTER.parse(request.filter),
    lambda request: oldest_first(request.order_by),
)


def wanted_customers(request: customer_service_pb2.ListCustomersRequest) -> CustomerList:
    """Returns which customers a request asks for. Raises FIELDS_INVALID."""
    return CustomerList(
        names.parse_parent(request.parent),
        _FILTER.parse(request.filter),
        show_deleted=request.show_deleted,
        oldest_first=oldest_first(request.order_by),
    )


def list_scope(wanted: CustomerList, written_filter: str = "") -> Sequence[str]:
    """Returns the scope of page tokens; a token of one service is good for the other."""
    return (
        *("customers", wanted.reseller_id),
        *(["deleted"] if wanted.show_deleted else ()),
        *(["oldest first"] if wanted.oldest_first else ()),
        *(["filter", written_filter] if wanted.filter_ else ()),
    )
