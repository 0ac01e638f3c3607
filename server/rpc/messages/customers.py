"""Customer records as the messages of both customer services, and their requests as arguments."""

from typing import NotRequired, TypedDict

from billing.v1 import customer_pb2 as billing_customer
from billing.v1 import customer_service_pb2 as billing_customers
from yandex.cloud.billing.v1 import customer_pb2 as yandex_customer
from yandex.cloud.billing.v1 import customer_service_pb2 as yandex_customers

from server.domain.customer_changes import etag
from server.domain.customers import Customer
from server.domain.errors import BillingError, Reason, Resource
from server.rpc.formats import phones
from server.rpc.formats.addresses import normal_address
from server.rpc.messages import resource_names as names
from server.rpc.messages.timestamps import timestamp

# Both messages have the same.
PERSON_FIELDS = tuple(billing_customer.Person.DESCRIPTOR.fields_by_name)


class InviteArguments(TypedDict):
    """What Customers.invite takes of a request."""

    reseller_id: str
    name: str
    email: str
    person: dict[str, str]
    external_id: NotRequired[str | None]
    labels: NotRequired[dict[str, str]]


def to_yandex(customer: Customer) -> yandex_customer.Customer:
    """Returns the record as yandex.cloud.billing.v1.Customer."""
    return yandex_customer.Customer(id=customer.id, billing_account_id=customer.billing_account_id)


def to_billing(customer: Customer) -> billing_customer.Customer:
    """Returns the record as billing.v1.Customer."""
    person = billing_customer.Person(**customer.person)
    if person.phone:
        person.phone = phones.to_e164(person.phone)
    return billing_customer.Customer(
        name=names.name(customer.reseller_id, names.CUSTOMERS, customer.id),
        display_name=customer.name,
        state=billing_customer.Customer.State.Value(customer.state.name),
        email=customer.email or "",
        person=person,
        billing_account_id=customer.billing_account_id,
        create_time=timestamp(customer.created_at),
        update_time=timestamp(customer.modified_at),
        external_id=customer.external_id or "",
        labels=customer.labels,
        etag=etag(customer),
        delete_time=timestamp(customer.deleted_at) if customer.deleted_at else None,
        purge_time=timestamp(customer.purge_at) if customer.purge_at else None,
    )


def as_checked(customer: Customer) -> billing_customer.Customer:
    """Returns a customer that was only checked: it has no name, no account and no version."""
    message = to_billing(customer)
    for field in ("name", "billing_account_id", "etag"):
        message.ClearField(field)
    return message


def yandex_invite_arguments(request: yandex_customers.InviteCustomerRequest) -> InviteArguments:
    """Returns what the published service's request to invite says."""
    return {
        "reseller_id": request.reseller_id,
        "name": request.name,
        "email": normal_address(request.invitation_email),
        "person": person_fields(request.person),
    }


def billing_invite_arguments(request: billing_customers.InviteCustomerRequest) -> InviteArguments:
    """Returns what our service's request to invite says. Raises FIELDS_INVALID for the parent."""
    customer = request.customer
    return {
        "reseller_id": names.parse_parent(request.parent),
        "name": customer.display_name,
        "email": normal_address(customer.email),
        "person": person_fields(customer.person),
        "external_id": customer.external_id or None,
        "labels": dict(customer.labels),
    }


def person_fields(
    person: yandex_customers.CustomerPerson | billing_customer.Person,
) -> dict[str, str]:
    """Returns the fields that are set, by proto name."""
    return {name: value for name in PERSON_FIELDS if (value := getattr(person, name))}


def customer_not_found(name: str, type_: str) -> BillingError:
    """Returns the refusal of a customer's ID or name; `type_` is the full name of the message."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such customer; check its ID.",
        resource=Resource(type_, name[:100]),
    )
