"""Requests to invite, as both APIs write them."""

from billing.v1 import customer_pb2, customer_service_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as yandex_customers


def in_our_words(
    request: yandex_customers.InviteCustomerRequest,
) -> customer_service_pb2.InviteCustomerRequest:
    """Returns the request of billing.v1 that asks for the same as a published one."""
    return customer_service_pb2.InviteCustomerRequest(
        parent=f"resellers/{request.reseller_id}",
        customer=customer_pb2.Customer(
            display_name=request.name,
            email=request.invitation_email,
            person=customer_pb2.Person.FromString(request.person.SerializeToString()),
        ),
    )
