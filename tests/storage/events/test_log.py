"""Each change has its event: what happened, to what, by whom, and how it looks afterwards."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from server.domain.access import SERVICE, Actor, Role, RoleBinding
from server.domain.customers import (
    Customer,
    CustomerState,
    create_reseller_served,
    finished_operation,
)
from server.domain.errors import BillingError, Reason
from server.domain.events import Event, EventType, event_id, event_number
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    link_token_hash,
    resend,
)
from server.domain.mail import DeliveryError, DeliveryState, EmailDelivery
from server.domain.operations import CANCELLED, Failure, OperationKind
from server.storage.check import check
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.events.reading import latest, logged
from tests.storage.overlap import Overlap
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    key,
    new,
)

INVITEE = Actor("invitee", None, "request-2")
BY_TIME = Actor(SERVICE)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
async def sound(storage: SqlStorage, database_url: str) -> AsyncIterator[None]:
    """Whatever a test does, log and records agree."""
    yield
    assert [found for found in check(database_url) if found.count] == []


async def sent(storage: SqlStorage) -> Delivery:
    await storage.invitations.create_invitation(new(), None)
    delivery = await claimed(storage)
    assert await storage.mail.finish_delivery(delivery, START + MINUTE)
    return delivery


async def shown(storage: SqlStorage, delivery: Delivery) -> Invitation:
    found = await storage.invitations.get_invitation(delivery.invitation_id)
    assert found
    return found


def check_event(
    event: Event, type_: EventType, actor: Actor, data: object, operation_id: str | None = None
) -> None:
    assert (event.type, event.actor, event.data) == (type_, actor, data)
    assert event.operation_id == operation_id


async def test_an_invitation_and_its_e_mail_have_an_event_each(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, key("one"))
    await storage.invitations.create_invitation(made, key("one"))  # a repeat changes nothing
    delivery = await claimed(storage)
    await storage.mail.finish_delivery(delivery, START + MINUTE)
    invited, sent = await logged(storage)
    check_event(invited, EventType.CUSTOMER_INVITED, ACTOR, made.customer, made.operation.id)
    now = made.invitation._replace(
        delivery=EmailDelivery(DeliveryState.SENT, 1, sent_at=START + MINUTE)
    )
    assert await shown(storage, delivery) == now
    check_event(sent, EventType.INVITATION_SENT, BY_TIME, now, made.operation.id)
    assert invited.customer_id == sent.customer_id == made.customer.id
    assert (invited.created_at, sent.created_at) == (START, START + MINUTE)
    assert [event_number(RESELLER, event.id) for event in (invited, sent)] == [1, 2]


@pytest.mark.parametrize(
    ("action", "type_", "state"),
    [
        (InvitationAction.ACCEPT, EventType.INVITATION_ACCEPTED, CustomerState.ACTIVE),
        (InvitationAction.DECLINE, EventType.INVITATION_DECLINED, CustomerState.INACTIVE),
    ],
)
async def test_an_answer_tells_of_both(
    storage: SqlStorage, action: InvitationAction, type_: EventType, state: CustomerState
) -> None:
    delivery = await sent(storage)
    link = link_token_hash(delivery.link_token)
    for _ in range(2):  # answered again, nothing changes
        await storage.invitations.answer_invitation(link, action, START + DAY, INVITEE, None)
    events = await logged(storage)
    assert len(events) == 3
    check_event(events[-1], type_, INVITEE, await shown(storage, delivery))
    assert isinstance(events[-1].data, Invitation)
    assert events[-1].data.customer_state is state


async def test_a_revocation_has_its_event(storage: SqlStorage) -> None:
    delivery = await sent(storage)
    await storage.invitations.revoke_invitation(delivery.invitation_id, START + DAY, ACTOR, None)
    event = await latest(storage)
    check_event(event, EventType.INVITATION_REVOKED, ACTOR, await shown(storage, delivery))


async def test_an_expiry_has_its_event(storage: SqlStorage) -> None:
    delivery = await sent(storage)
    over = START + INVITATION_LIFETIME + MINUTE
    assert await storage.retention.expire_invitations(over, 10) == 1
    event = await latest(storage)
    check_event(event, EventType.INVITATION_EXPIRED, BY_TIME, await shown(storage, delivery))
    assert event.created_at == over


async def test_one_that_has_lapsed_ends_when_another_takes_its_place(storage: SqlStorage) -> None:
    first = new("a@example.com")
    await storage.invitations.create_invitation(first, None)
    await storage.mail.finish_delivery(await claimed(storage), START)
    later = START + INVITATION_LIFETIME + MINUTE
    await storage.invitations.create_invitation(new("a@example.com", now=later), None)
    types = [event.type for event in await logged(storage)]
    assert sorted(types[2:]) == [EventType.CUSTOMER_INVITED, EventType.INVITATION_EXPIRED]


async def test_a_resend_and_its_e_mail_have_an_event_each(storage: SqlStorage) -> None:
    delivery = await sent(storage)
    again = await sent_again(storage, delivery)
    event = await latest(storage)
    queued = (await shown(storage, delivery))._replace(delivery=EmailDelivery(DeliveryState.QUEUED))
    check_event(event, EventType.INVITATION_RESENT, ACTOR, queued, again)
    second = await claimed(storage, START + 2 * DAY)
    await storage.mail.finish_delivery(second, START + 2 * DAY)
    event = await latest(storage)
    check_event(event, EventType.INVITATION_SENT, BY_TIME, await shown(storage, delivery), again)


async def sent_again(storage: SqlStorage, delivery: Delivery) -> str:
    found = await shown(storage, delivery)
    customer = await storage.customers.get_customer(found.customer_id)
    assert customer
    operation = resend(customer, resent_by=ACTOR.subject, now=START + DAY)
    until = START + DAY + INVITATION_LIFETIME
    await storage.invitations.resend_invitation(found.id, operation, until, MINUTE, ACTOR, None)
    return operation.id


async def test_an_email_that_no_server_takes(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, None)
    failure = Failure(Reason.RECIPIENT_REFUSED, "The mail server refuses the address.", {})
    await storage.mail.fail_delivery(await claimed(storage), failure, START + MINUTE)
    event = await latest(storage)
    gone = made.invitation._replace(ended_at=START + MINUTE, customer_state=None)
    check_event(event, EventType.INVITATION_UNDELIVERABLE, BY_TIME, gone, made.operation.id)
    assert event.problem == DeliveryError(failure.message)
    assert event.customer_id == made.customer.id


async def test_a_resend_that_no_server_takes_leaves_the_invitation_as_before(
    storage: SqlStorage,
) -> None:
    delivery = await sent(storage)
    before = await shown(storage, delivery)
    again = await sent_again(storage, delivery)
    failure = Failure(Reason.MAIL_UNDELIVERED, "No server took it.", {})
    await storage.mail.fail_delivery(await claimed(storage, START + DAY), failure, START + 2 * DAY)
    event = await latest(storage)
    check_event(event, EventType.INVITATION_UNDELIVERABLE, BY_TIME, before, again)
    assert event.problem == DeliveryError(failure.message)


async def test_a_cancelled_invitation_has_its_event(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, None)
    canceller = Actor("another", "key-9", "request-9")
    await storage.operations.cancel_operation(made.operation.id, START + MINUTE, canceller, None)
    event = await latest(storage)
    gone = made.invitation._replace(ended_at=START + MINUTE, customer_state=None)
    check_event(event, EventType.INVITATION_CANCELLED, canceller, gone, made.operation.id)
    assert event.problem == DeliveryError(CANCELLED.message)


async def test_who_cancels_what_a_worker_is_at_is_told_once_it_ends(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, None)
    delivery = await claimed(storage)
    canceller = Actor("another", "key-9", "request-9")
    await storage.operations.cancel_operation(made.operation.id, START, canceller, None)
    assert (await latest(storage)).type is EventType.CUSTOMER_INVITED
    await storage.mail.retry_delivery(delivery, START + DAY, START + MINUTE)
    event = await latest(storage)
    assert (event.type, event.actor) == (EventType.INVITATION_CANCELLED, canceller)


async def test_what_was_revoked_before_its_email_left_is_undeliverable(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, None)
    await storage.invitations.revoke_invitation(made.invitation.id, START, ACTOR, None)
    assert await storage.mail.claim_deliveries(10, START, LEASE) == []
    revoked, undeliverable = (await logged(storage))[-2:]
    assert revoked.type is EventType.INVITATION_REVOKED
    found = await storage.invitations.get_invitation(made.invitation.id)
    type_ = EventType.INVITATION_UNDELIVERABLE
    check_event(undeliverable, type_, BY_TIME, found, made.operation.id)


async def test_customers_are_created_suspended_and_activated(storage: SqlStorage) -> None:
    made = create_reseller_served(
        reseller_id=RESELLER, name="Рога", person={"tin": "77"}, actor=ACTOR, now=START
    )
    await storage.customers.create_customer(made, None)
    check_event(
        await latest(storage),
        *(EventType.CUSTOMER_CREATED, ACTOR, made.customer, made.operation.id),
    )
    for kind, type_ in (
        (OperationKind.SUSPEND, EventType.CUSTOMER_SUSPENDED),
        (OperationKind.ACTIVATE, EventType.CUSTOMER_ACTIVATED),
    ):
        operation = finished_operation(kind, made.customer, "s", START + DAY)
        await storage.customers.change_customer_state(operation, ACTOR, None)
        customer = await storage.customers.get_customer(made.customer.id)
        assert isinstance(customer, Customer)
        check_event(await latest(storage), type_, ACTOR, customer, operation.id)


async def test_what_is_refused_has_no_event(storage: SqlStorage) -> None:
    made = new("a@example.com")
    await storage.invitations.create_invitation(made, None)
    with pytest.raises(BillingError):
        await storage.invitations.create_invitation(new("a@example.com"), None)
    assert len(await logged(storage)) == 1


async def test_rights_are_granted_and_revoked(storage: SqlStorage) -> None:
    access = storage.administration
    await access.add_service_account("account-1", "Account", START)
    operator = Actor("operator:ann")
    editor = RoleBinding("account-1", RESELLER, Role.EDITOR, START)
    await access.grant_role("account-1", RESELLER, Role.EDITOR, START, "ann")
    check_event(await latest(storage), EventType.ACCESS_GRANTED, operator, editor)
    await access.revoke_role("account-1", RESELLER, Role.EDITOR, START + DAY, "ann")
    check_event(await latest(storage), EventType.ACCESS_REVOKED, operator, editor)
    await access.grant_role("account-1", SECOND_RESELLER, Role.VIEWER, START, "ann")
    await access.remove_service_account("account-1", START + DAY, "ann")
    event = await latest(storage, SECOND_RESELLER)
    viewer = RoleBinding("account-1", SECOND_RESELLER, Role.VIEWER, START)
    check_event(event, EventType.ACCESS_REVOKED, operator, viewer)


async def test_no_account_has_a_name_that_events_give_others(storage: SqlStorage) -> None:
    for name in ("invitee", "service"):
        for call in (
            storage.administration.add_service_account(name, "A", START),
            storage.administration.grant_role(name, RESELLER, Role.OWNER, START),
        ):
            with pytest.raises(BillingError) as refused:
                await call
            assert refused.value.reason is Reason.FIELDS_INVALID


async def test_each_reseller_has_a_log_of_its_own(storage: SqlStorage) -> None:
    for reseller_id in (RESELLER, SECOND_RESELLER, RESELLER):
        await storage.invitations.create_invitation(new(reseller_id=reseller_id), None)
    assert [event.number for event in await logged(storage)] == [1, 2]
    (other,) = await logged(storage, SECOND_RESELLER)
    assert other.number == 1
    assert event_number(RESELLER, other.id) is None
    assert event_id(RESELLER, 9) < event_id(RESELLER, 10)


async def test_no_event_is_seen_before_an_earlier_one(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """The one who came later waits for the number of the one whose commit is still to come."""
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new(), None),
        overlap.second.invitations.create_invitation(new(), None),
    )
    assert outcome.waited
    assert [event.number for event in await logged(storage)] == [1, 2]


@on_postgresql  # SQLite has one writer
async def test_resellers_do_not_wait_for_each_other(storage: SqlStorage, overlap: Overlap) -> None:
    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new(), None),
        overlap.second.invitations.create_invitation(new(reseller_id=SECOND_RESELLER), None),
    )
    assert not outcome.waited


async def test_what_is_rolled_back_leaves_no_gap(
    storage: SqlStorage, database_url: str, overlap: Overlap
) -> None:
    await asyncio.gather(
        *(storage.invitations.create_invitation(new("a@example.com"), None) for _ in range(9)),
        *(storage.invitations.create_invitation(new(), None) for _ in range(9)),
        return_exceptions=True,
    )
    numbers = [event.number for event in await logged(storage)]
    assert numbers == list(range(1, 11))


async def test_old_events_are_cleared_from_the_first_on(
    storage: SqlStorage, database_url: str
) -> None:
    for day in range(5):
        made = new(now=START + day * DAY)
        await storage.invitations.create_invitation(made, None)
    assert await storage.retention.clear_events(START + 3 * DAY, 2) == 2
    assert await storage.retention.clear_events(START + 3 * DAY, 2) == 1
    assert await storage.retention.clear_events(START + 3 * DAY, 2) == 0
    assert [event.number for event in await logged(storage)] == [4, 5]
    assert query(database_url, "SELECT last, cleared FROM event_logs") == [(5, 3)]
    assert await storage.retention.clear_events(START + 9 * DAY, 9) == 2
    await storage.invitations.create_invitation(new(), None)
    assert [event.number for event in await logged(storage)] == [6]
    # The log was empty before: what came since is cleared as well.
    assert await storage.retention.clear_events(START + 9 * DAY, 9) == 1
