"""Prebuilt requests, each invitation with an address of its own."""

import uuid
from collections.abc import Iterator

from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_service_pb2

INVITE = "/yandex.cloud.billing.v1.CustomerService/Invite"
LIST = "/yandex.cloud.billing.v1.CustomerService/List"
GET = "/yandex.cloud.operation.OperationService/Get"

# The same in wrk/invite.lua.
PERSON = {
    "name": "Horns and Hooves",
    "phone": "+74951234567",
    "email": "office@example.com",
    "post_code": "119021",
    "post_address": "Moscow, Leo Tolstoy street, 16",
    "tin": "7707083893",
}
_PLACE = b"customer-00000000000000000000@example.com"

# A request's bytes and the headers that come with it.
Request = tuple[bytes, tuple[tuple[str, str], ...]]


def invitations(reseller: str, token: str) -> Iterator[Request]:
    """Yields Invites without end, with addresses and idempotency keys that nobody else sends."""
    message = customers.InviteCustomerRequest(
        reseller_id=reseller,
        name="Horns and Hooves",
        invitation_email=_PLACE.decode(),
        person=customers.CustomerPerson(**PERSON),
    )
    head, tail = message.SerializeToString().split(_PLACE)
    first = uuid.uuid4().int
    authorization = ("authorization", f"Bearer {token}")
    number = first % 10**20
    while True:
        address = b"customer-%020d@example.com" % number
        number = (number + 1) % 10**20
        first += 1 << 64
        key = str(uuid.UUID(int=first % (1 << 128)))
        yield head + address + tail, (authorization, ("idempotency-key", key))


def repeated(bodies: list[bytes], token: str) -> Iterator[Request]:
    """Yields the same requests over and over."""
    headers = (("authorization", f"Bearer {token}"),)
    while True:
        for body in bodies:
            yield body, headers


def gets(operation_ids: list[str]) -> list[bytes]:
    """Returns requests for operations."""
    return [
        operation_service_pb2.GetOperationRequest(operation_id=each).SerializeToString()
        for each in operation_ids
    ]


def lists(reseller: str, page_size: int) -> list[bytes]:
    """Returns the request for the first page of a reseller's customers."""
    message = customers.ListCustomersRequest(reseller_id=reseller, page_size=page_size)
    return [message.SerializeToString()]
