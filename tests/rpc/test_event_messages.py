"""Events as messages and as JSON."""

from datetime import UTC, datetime, timedelta

from billing.v1 import customer_pb2, event_pb2, invitation_pb2

from server.domain.access import Actor, Role, RoleBinding
from server.domain.customers import Customer, CustomerState
from server.domain.events import Event, EventType, event_id
from server.domain.invitation_options import InvitationOptions
from server.domain.invitations import Invitation, InvitationState
from server.domain.mail import DeliveryError
from server.rpc.messages.events import event_json, to_event

AT = datetime(2026, 3, 1, 9, 30, 0, 123456, UTC)
CUSTOMER = Customer(
    *("bcu1", "r1", "bac1", "Horns and Hooves", {"name": "Ostap"}, "ostap@example.com"),
    *(CustomerState.ACTIVE, AT, AT),
)
INVITATION = Invitation(
    *("inv1", "r1", "bcu1", "bop1", "ostap@example.com", InvitationState.ACCEPTED),
    *(AT, AT + timedelta(days=30), AT, None, CustomerState.ACTIVE),
    options=InvitationOptions("ru", "Anna", "Hello"),
)


def event(type_: EventType, data: Customer | Invitation | RoleBinding) -> Event:
    about = data.id if isinstance(data, Customer) else getattr(data, "customer_id", None)
    return Event(
        "r1", 7, type_, AT, Actor("ajesubject", "ajkkey", "request-1"), about, "bop1", data
    )


def test_an_invitation_s_event_names_all_that_it_is_about() -> None:
    assert event_json(event(EventType.INVITATION_ACCEPTED, INVITATION)) == {
        "name": f"resellers/r1/events/{event_id('r1', 7)}",
        "type": "invitation.accepted",
        "createTime": "2026-03-01T09:30:00.123456Z",
        "actor": {"subject": "ajesubject", "keyId": "ajkkey", "requestId": "request-1"},
        "customer": "resellers/r1/customers/bcu1",
        "invitation": "resellers/r1/invitations/inv1",
        "operation": "operations/bop1",
        "data": {
            "@type": "type.googleapis.com/billing.v1.Invitation",
            "name": "resellers/r1/invitations/inv1",
            "reseller": "resellers/r1",
            "customer": "resellers/r1/customers/bcu1",
            "email": "ostap@example.com",
            "state": "ACCEPTED",
            "createTime": "2026-03-01T09:30:00.123456Z",
            "expireTime": "2026-03-31T09:30:00.123456Z",
            "endTime": "2026-03-01T09:30:00.123456Z",
            "customerState": "ACTIVE",
            "languageCode": "ru",
            "inviterDisplayName": "Anna",
            "note": "Hello",
            "deliveryMethod": "EMAIL",
            "returnUri": "",
            "reminderDays": [],
        },
    }


def test_a_customer_s_event_shows_the_customer() -> None:
    message = to_event(event(EventType.CUSTOMER_ACTIVATED, CUSTOMER))
    customer = customer_pb2.Customer()
    assert message.data.Unpack(customer)
    assert customer.name == message.customer == "resellers/r1/customers/bcu1"
    assert customer.state == customer_pb2.Customer.ACTIVE
    assert message.invitation == ""


def test_an_invited_customer_s_event_names_the_invitation() -> None:
    message = to_event(event(EventType.CUSTOMER_INVITED, CUSTOMER))
    assert message.invitation == "resellers/r1/invitations/inv1"


def test_a_right_s_event_shows_the_role() -> None:
    binding = RoleBinding("ajesubject", "r1", Role.EDITOR, AT)
    message = to_event(
        event(EventType.ACCESS_GRANTED, binding)._replace(
            actor=Actor("operator:ann"), customer_id=None, operation_id=None
        )
    )
    role = event_pb2.RoleBinding()
    assert message.data.Unpack(role)
    assert (role.reseller, role.subject, role.role) == (
        *("resellers/r1", "ajesubject", "billing.accounts.editor"),
    )
    assert (message.customer, message.operation) == ("", "")
    assert message.actor == event_pb2.Event.Actor(subject="operator:ann")


def test_an_invitation_that_is_taken_back_tells_why() -> None:
    taken_back = INVITATION._replace(state=InvitationState.PENDING, customer_state=None)
    message = to_event(
        event(EventType.INVITATION_UNDELIVERABLE, taken_back)._replace(
            problem=DeliveryError("No such mailbox.", 550, "5.1.1")
        )
    )
    invitation = invitation_pb2.Invitation()
    assert message.data.Unpack(invitation)
    error = invitation.delivery.last_error
    assert (error.message, error.smtp_code, error.enhanced_status) == (
        *("No such mailbox.", 550, "5.1.1"),
    )
    assert invitation.customer_state == customer_pb2.Customer.STATE_UNSPECIFIED
