"""The life of invitations through the API."""

import logging
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2, invitation_pb2
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import invitation_service_pb2 as service
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from server.config import Settings
from server.domain.invitations import new_link_token
from server.domain.operations import Deferral
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request

State = invitation_pb2.Invitation.State
PARENT = "resellers/reseller-1"
LEASE = timedelta(minutes=1)
DAY = timedelta(days=1)
BAD_TOKENS = {
    "cut short": "a" * 31,
    "too long": "a" * 37,
    "of wrong characters": "a" * 31 + "!",
    "of another script": "а" * 32,
    "with a line's end": "a" * 32 + "\n",
    "with NUL": "a" * 31 + "\0",
    "unknown": "a" * 32,
    "nearly a megabyte": "a" * 1_000_000,
}


@dataclass
class Sent:
    """An invitation whose e-mail has gone out with the link's token."""

    name: str
    customer: str
    operation_id: str
    email: str
    token: str


async def sent(api: Api, **fields: Any) -> Sent:
    body = request(**fields)
    begun = await api.customers.Invite(body, metadata=api.as_("writer"))
    about = customers.CustomerMetadata()
    begun.metadata.Unpack(about)
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    return Sent(
        f"{PARENT}/invitations/{delivery.invitation_id}",
        f"{PARENT}/customers/{about.customer_id}",
        begun.id,
        body.invitation_email,
        delivery.link_token,
    )


async def get(api: Api, name: str) -> invitation_pb2.Invitation:
    found: invitation_pb2.Invitation = await api.invitations.GetInvitation(
        service.GetInvitationRequest(name=name), metadata=api.as_("reader")
    )
    return found


async def test_an_invitation_tells_why_its_e_mail_is_late(api: Api) -> None:
    begun = await api.customers.Invite(request(), metadata=api.as_("writer"))
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    name = f"{PARENT}/invitations/{delivery.invitation_id}"
    states = invitation_pb2.Invitation.Delivery.State
    assert (await get(api, name)).delivery.state == states.QUEUED
    next_at = api.clock() + timedelta(minutes=30)
    deferral = Deferral(3, "the mail server said 452 4.2.2", next_at, 452, "4.2.2")
    await api.storage.mail.retry_delivery(delivery, next_at, api.clock(), deferral)
    page = await api.invitations.ListInvitations(
        service.ListInvitationsRequest(parent=PARENT), metadata=api.as_("reader")
    )
    for found in (await get(api, name), *page.invitations):
        assert (found.delivery.state, found.delivery.attempts) == (states.DEFERRED, 3)
        error = found.delivery.last_error
        assert error.message == "The mailbox is full."
        assert (error.smtp_code, error.enhanced_status) == (452, "4.2.2")
        assert not found.delivery.HasField("sent_time")
        assert found.delivery.next_attempt_time.ToDatetime(UTC) == next_at
    api.clock.advance(timedelta(minutes=30))
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    assert delivery.operation_id == begun.id
    await api.storage.mail.finish_delivery(delivery, api.clock())
    found = await get(api, name)
    assert (found.delivery.state, found.delivery.attempts) == (states.SENT, 2)
    assert found.delivery.sent_time.ToDatetime(UTC) == api.clock()
    for wanted, names in (("SENT", [name]), ("DEFERRED", []), ("BOUNCED", [])):
        page = await listed(api, filter=f"delivery.state = {wanted}")
        assert [each.name for each in page.invitations] == names


async def customer_state(api: Api, name: str) -> str:
    found = await api.google_customers.GetCustomer(
        google_customers.GetCustomerRequest(name=name), metadata=api.as_("reader")
    )
    return customer_pb2.Customer.State.Name(found.state)


async def listed(api: Api, **fields: Any) -> service.ListInvitationsResponse:
    answer: service.ListInvitationsResponse = await api.invitations.ListInvitations(
        service.ListInvitationsRequest(parent=PARENT, **fields), metadata=api.as_("reader")
    )
    return answer


def accept(api: Api, token: str, **headers: str) -> Awaitable[invitation_pb2.Invitation]:
    call: Awaitable[invitation_pb2.Invitation] = api.invitations.AcceptInvitation(
        service.AcceptInvitationRequest(token=token), metadata=own_headers(headers)
    )
    return call


def decline(api: Api, token: str, **headers: str) -> Awaitable[invitation_pb2.Invitation]:
    call: Awaitable[invitation_pb2.Invitation] = api.invitations.DeclineInvitation(
        service.DeclineInvitationRequest(token=token), metadata=own_headers(headers)
    )
    return call


def own_headers(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


def resend(api: Api, name: str, who: str = "writer", **headers: str) -> Awaitable[Any]:
    call: Awaitable[Any] = api.invitations.ResendInvitation(
        service.ResendInvitationRequest(name=name), metadata=api.as_(who, **headers)
    )
    return call


def revoke(
    api: Api, name: str, who: str = "writer", **headers: str
) -> Awaitable[invitation_pb2.Invitation]:
    call: Awaitable[invitation_pb2.Invitation] = api.invitations.RevokeInvitation(
        service.RevokeInvitationRequest(name=name), metadata=api.as_(who, **headers)
    )
    return call


def detail(status: status_pb2.Status, kind: Any) -> Any:
    for each in status.details:
        if each.Is(kind.DESCRIPTOR):
            found = kind()
            each.Unpack(found)
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name}")


async def test_a_pending_one_shows_all_but_its_link(api: Api) -> None:
    made = await sent(api)
    found = await get(api, made.name)
    created = timestamp_pb2.Timestamp()
    created.FromDatetime(api.clock())
    expires = timestamp_pb2.Timestamp()
    expires.FromDatetime(api.clock() + 30 * DAY)
    assert found == invitation_pb2.Invitation(
        name=made.name,
        reseller=PARENT,
        customer=made.customer,
        email=made.email,
        state=State.PENDING,
        create_time=created,
        expire_time=expires,
        delivery=invitation_pb2.Invitation.Delivery(
            state=invitation_pb2.Invitation.Delivery.SENT, attempts=1, sent_time=created
        ),
        customer_state=customer_pb2.Customer.ACCEPTANCE_REQUIRED,
        delivery_method=invitation_pb2.Invitation.DeliveryMethod.EMAIL,
    )
    assert made.token not in str(found)


async def test_accepting_takes_the_link_and_nothing_else(api: Api) -> None:
    made, other = await sent(api), await sent(api)
    assert await customer_state(api, made.customer) == "ACCEPTANCE_REQUIRED"
    accepted = await accept(api, made.token)
    assert accepted.state == State.ACCEPTED
    assert accepted == await get(api, made.name)
    assert accepted.end_time.ToDatetime(api.clock().tzinfo) == api.clock()
    assert await customer_state(api, made.customer) == "ACTIVE"
    assert (await get(api, other.name)).state == State.PENDING
    # Replayed, it is what it was.
    api.clock.advance(DAY)
    assert await accept(api, made.token) == accepted
    for call in (decline(api, made.token), revoke(api, made.name), resend(api, made.name)):
        code, reason, status = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVITATION_STATE")
        assert detail(status, error_details_pb2.ErrorInfo).metadata["state"] == "ACCEPTED"
        assert made.token not in str(status)
    # The reseller can suspend whom it invited.
    await api.customers.Suspend(
        customers.SuspendCustomerRequest(customer_id=made.customer.rpartition("/")[2]),
        metadata=api.as_("writer"),
    )
    assert await customer_state(api, made.customer) == "SUSPENDED"
    accepted.customer_state = customer_pb2.Customer.SUSPENDED
    assert await accept(api, made.token) == accepted
    assert await customer_state(api, made.customer) == "SUSPENDED"


async def test_declining_and_revoking_make_the_customer_inactive(api: Api) -> None:
    declined, revoked = await sent(api), await sent(api)
    assert (await decline(api, declined.token)).state == State.DECLINED
    assert (await revoke(api, revoked.name)).state == State.REVOKED
    assert await revoke(api, revoked.name) == await get(api, revoked.name)
    for made, state in ((declined, "DECLINED"), (revoked, "REVOKED")):
        assert await customer_state(api, made.customer) == "INACTIVE"
        code, _, status = await refusal(accept(api, made.token))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert state in status.message
        # Neither is in the way of a new one.
        await sent(api, invitation_email=made.email)


async def test_it_reads_as_expired_the_moment_it_lapses(api: Api) -> None:
    made = await sent(api)
    api.clock.advance(30 * DAY)
    found = await get(api, made.name)
    assert found.state == State.EXPIRED
    assert found.end_time == found.expire_time
    assert [each.name for each in (await listed(api, filter="state = EXPIRED")).invitations] == [
        made.name
    ]
    assert not (await listed(api, filter="state = PENDING")).invitations
    for call in (accept(api, made.token), decline(api, made.token), revoke(api, made.name)):
        code, reason, status = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVITATION_STATE")
        assert "EXPIRED" in status.message
    again = await sent(api, invitation_email=made.email)
    assert await get(api, made.name) == found
    assert await customer_state(api, made.customer) == "INACTIVE"
    assert (await get(api, again.name)).state == State.PENDING


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_links_that_lead_nowhere(
    api: Api, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = BAD_TOKENS[kind]
    answers = []
    for call in (accept(api, token), decline(api, token)):
        code, reason, status = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        assert token not in str(status)
        answers.append(status.message)
    assert len(set(answers)) == 1
    if len(token) > 10:
        assert token[:31] not in caplog.text


async def test_no_link_at_all_is_a_missing_field(api: Api) -> None:
    code, _, status = await refusal(accept(api, ""))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [
        each.field for each in detail(status, error_details_pb2.BadRequest).field_violations
    ] == ["token"]


async def test_who_guesses_is_slowed_down(api: Api, settings: Settings) -> None:
    made = await sent(api)
    most = int(settings.unknown_links_per_min)
    guesser = {"x_forwarded_for": "2001:db8:1:2::1"}
    # Links that hold cost nothing.
    for _ in range(2 * most):
        await accept(api, made.token, **guesser)
    codes = [(await refusal(accept(api, new_link_token(), **guesser)))[0] for _ in range(most)]
    assert codes == [grpc.StatusCode.NOT_FOUND] * most
    neighbour = {"x_forwarded_for": "2001:db8:1:2:ffff::9"}  # of the same network
    for headers in (guesser, neighbour):
        code, reason, status = await refusal(decline(api, new_link_token(), **headers))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_EXCEEDED")
        assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0
    for address in ("2001:db8:1:3::1", "192.0.2.1", ""):
        code, _, _ = await refusal(accept(api, new_link_token(), x_forwarded_for=address))
        assert code is grpc.StatusCode.NOT_FOUND
    # What can't be a link is no guess.
    code, _, _ = await refusal(accept(api, "short", **guesser))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_sending_again_replaces_the_link_and_begins_the_time_anew(api: Api) -> None:
    made = await sent(api)
    api.clock.advance(DAY)
    begun = await resend(api, made.name)
    assert not begun.done
    about = service.ResendInvitationMetadata()
    assert begun.metadata.Unpack(about)
    assert (about.customer, about.invitation) == (made.customer, made.name)
    # The old link is dead at once.
    code, _, _ = await refusal(accept(api, made.token))
    assert code is grpc.StatusCode.NOT_FOUND
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    found = await get(api, made.name)
    assert found.resend_time.ToDatetime(api.clock().tzinfo) == api.clock()
    assert found.expire_time.ToDatetime(api.clock().tzinfo) == api.clock() + 30 * DAY
    code, reason, status = await refusal(resend(api, made.name))
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESENT_TOO_SOON")
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToSeconds() == 60
    code, _, _ = await refusal(accept(api, made.token))
    assert code is grpc.StatusCode.NOT_FOUND
    assert (await accept(api, delivery.link_token)).state == State.ACCEPTED


async def test_the_first_e_mail_goes_out_first(api: Api) -> None:
    await api.customers.Invite(request(), metadata=api.as_("writer"))
    (made,) = (await listed(api)).invitations
    code, _, status = await refusal(resend(api, made.name))
    assert code is grpc.StatusCode.ABORTED
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToSeconds() == 1


async def test_a_repeat_with_the_same_key_is_answered_alike(api: Api) -> None:
    made = await sent(api)
    key = {"idempotency_key": str(uuid.uuid4())}
    begun = await resend(api, made.name, **key)
    assert await resend(api, made.name, **key) == begun
    code, reason, _ = await refusal(revoke(api, made.name, **key))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    key = {"idempotency_key": str(uuid.uuid4())}
    accepted = await accept(api, delivery.link_token, **key)
    assert await accept(api, delivery.link_token, **key) == accepted
    code, reason, _ = await refusal(decline(api, delivery.link_token, **key))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")
    other = await sent(api)
    key = {"idempotency_key": str(uuid.uuid4())}
    revoked = await revoke(api, other.name, **key)
    assert await revoke(api, other.name, **key) == revoked
    code, reason, _ = await refusal(accept(api, other.token, idempotency_key="1"))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID")


async def test_invitations_are_listed_by_filter_and_page(api: Api) -> None:
    made = []
    for number in range(7):
        made.append(await sent(api, invitation_email=f"User{number}@example.com"))
        api.clock.advance(timedelta(seconds=1))
    await accept(api, made[0].token)
    await decline(api, made[3].token)
    names = [each.name for each in reversed(made)]
    assert [each.name for each in (await listed(api)).invitations] == names
    for filter_, expected in (
        ("state = PENDING", {1, 2, 4, 5, 6}),
        ("state = ACCEPTED", {0}),
        ('email = "user3@EXAMPLE.com"', {3}),
        ("email = user3@example.com AND state = DECLINED", {3}),
        ("state = PENDING AND email = user3@example.com", set()),
    ):
        found = (await listed(api, filter=filter_)).invitations
        assert {each.name for each in found} == {made[number].name for number in expected}
    paged: list[str] = []
    token = ""
    while True:
        page = await listed(api, page_size=2, page_token=token)
        paged += [each.name for each in page.invitations]
        token = page.next_page_token
        if not token:
            break
        assert len(token) <= 100
    assert paged == names
    first = await listed(api, page_size=1)
    for fields, wrong in (
        ({"page_token": first.next_page_token, "filter": "state = PENDING"}, "page_token"),
        ({"page_token": "x"}, "page_token"),
        ({"page_size": -1}, "page_size"),
        ({"filter": "state = pending"}, "filter"),
        ({"filter": "email = nobody"}, "filter"),
        ({"filter": "reseller = a"}, "filter"),
    ):
        code, _, status = await refusal(listed(api, **fields))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        violations = detail(status, error_details_pb2.BadRequest).field_violations
        assert [each.field for each in violations] == [wrong]


async def test_customers_show_how_they_stand(api: Api) -> None:
    made = await sent(api, name="Ромашка")
    api.clock.advance(DAY)
    await api.customers.CreateResellerServed(
        customers.CreateResellerServedCustomerRequest(
            reseller_id="reseller-1", name="Served", person=customers.CustomerPerson(name="N")
        ),
        metadata=api.as_("writer"),
    )
    await accept(api, made.token)
    page = await api.google_customers.ListCustomers(
        google_customers.ListCustomersRequest(parent=PARENT), metadata=api.as_("reader")
    )
    served, invited = page.customers
    assert (served.display_name, served.email, served.person.name) == ("Served", "", "N")
    assert served.state == customer_pb2.Customer.State.ACTIVE
    assert (invited.name, invited.display_name) == (made.customer, "Ромашка")
    assert (invited.email, invited.person.tin) == (made.email, "77")
    assert invited.update_time.ToDatetime(api.clock().tzinfo) == api.clock()
    assert invited.create_time.ToDatetime(api.clock().tzinfo) == api.clock() - DAY
    # The published list keeps its shape.
    published = await api.customers.List(
        customers.ListCustomersRequest(reseller_id="reseller-1"), metadata=api.as_("reader")
    )
    assert [each.id for each in published.customers] == [
        each.name.rpartition("/")[2] for each in page.customers
    ]
    assert [each.billing_account_id for each in published.customers] == [
        each.billing_account_id for each in page.customers
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"{PARENT}/invitations/inv00000000000000000", grpc.StatusCode.NOT_FOUND),
        (
            "resellers/reseller-2/invitations/inv00000000000000000",
            grpc.StatusCode.PERMISSION_DENIED,
        ),
        ("resellers/none/invitations/inv00000000000000000", grpc.StatusCode.PERMISSION_DENIED),
        ("resellers/reseller-2/invitations/{id}", grpc.StatusCode.PERMISSION_DENIED),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("invitations/{id}", grpc.StatusCode.INVALID_ARGUMENT),
        (f"{PARENT}/customers/{{id}}", grpc.StatusCode.INVALID_ARGUMENT),
        (f"{PARENT}/invitations/{{id}}/more", grpc.StatusCode.INVALID_ARGUMENT),
        (f"{PARENT}/invitations/", grpc.StatusCode.INVALID_ARGUMENT),
        (f" {PARENT}/invitations/{{id}}", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_names_that_are_not_ones_own(api: Api, name: str, code: grpc.StatusCode) -> None:
    made = await sent(api)
    name = name.replace("{id}", made.name.rpartition("/")[2])
    calls = (
        resend(api, name),
        revoke(api, name),
        api.invitations.GetInvitation(
            service.GetInvitationRequest(name=name), metadata=api.as_("writer")
        ),
    )
    for call in calls:
        found, _, _ = await refusal(call)
        assert found is code
    assert (await get(api, made.name)).state == State.PENDING


async def test_another_resellers_invitation_is_not_found_under_ones_own_name(api: Api) -> None:
    made = await sent(api)
    name = made.name.replace("reseller-1", "reseller-2")
    customer = made.customer.replace("reseller-1", "reseller-2")
    for call in (
        resend(api, name, "foreigner"),
        revoke(api, name, "foreigner"),
        api.google_customers.GetCustomer(
            google_customers.GetCustomerRequest(name=customer), metadata=api.as_("foreigner")
        ),
    ):
        code, _, status = await refusal(call)
        assert code is grpc.StatusCode.NOT_FOUND
        assert detail(status, error_details_pb2.ResourceInfo).resource_name in (name, customer)
