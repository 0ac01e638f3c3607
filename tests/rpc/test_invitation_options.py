"""What an invitation says and does beside who invites whom."""

import uuid
from collections.abc import Awaitable
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import (
    customer_pb2,
    customer_service_pb2,
    event_service_pb2,
    invitation_pb2,
    invitation_service_pb2,
)
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2, field_mask_pb2
from google.rpc import error_details_pb2
from yandex.cloud import validation_pb2

from server.domain.invitation_options import NO_OPTIONS, InvitationOptions
from server.domain.operations import Deferral
from server.languages import LanguageCode
from server.storage.interface import Delivery
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_invitations import (
    LEASE,
    PARENT,
    accept,
    decline,
    detail,
    get,
    listed,
    resend,
    sent,
)

NOTE = "Dear Ivan,\r\nyour account is ready.\n\nSee you on Monday"
HOUR = duration_pb2.Duration(seconds=3600)
TEXTS = {"language_code": "ru", "inviter_display_name": "Анна Петрова", "note": NOTE}


def request(**fields: Any) -> customer_service_pb2.InviteCustomerRequest:
    return customer_service_pb2.InviteCustomerRequest(
        parent=PARENT,
        customer=customer_pb2.Customer(
            display_name="Customer",
            email=f"{uuid.uuid4().hex}@example.com",
            person=customer_pb2.Person(tin="77"),
        ),
        **fields,
    )


def email_of(body: customer_service_pb2.InviteCustomerRequest) -> str:
    return body.customer.email


def invite(
    api: Api, body: customer_service_pb2.InviteCustomerRequest, who: str = "writer", **headers: str
) -> Awaitable[Any]:
    call: Awaitable[Any] = api.google_customers.InviteCustomer(
        body, metadata=api.as_(who, **headers)
    )
    return call


async def claimed(api: Api) -> Delivery:
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    return delivery


def name_of(delivery: Delivery) -> str:
    return f"resellers/reseller-1/invitations/{delivery.invitation_id}"


async def wrong_fields(call: Awaitable[Any]) -> dict[str, str]:
    code, reason, status = await refusal(call)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID")
    request = detail(status, error_details_pb2.BadRequest)
    return {each.field: each.description for each in request.field_violations}


async def test_an_invitation_shows_what_it_was_made_with(api: Api) -> None:
    await invite(api, request(**TEXTS))
    delivery = await claimed(api)
    assert delivery.options == InvitationOptions("ru", "Анна Петрова", NOTE.replace("\r", ""))
    (in_list,) = (await listed(api)).invitations
    for found in (await get(api, name_of(delivery)), in_list):
        assert found.language_code == "ru"
        assert found.inviter_display_name == "Анна Петрова"
        assert found.note == NOTE.replace("\r", "")
    await api.storage.mail.finish_delivery(delivery, api.clock())
    events = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(parent=PARENT), metadata=api.as_("reader")
    )
    shown = invitation_pb2.Invitation()
    assert events.events[-1].data.Unpack(shown)
    assert (shown.note, shown.language_code) == (NOTE.replace("\r", ""), "ru")


async def test_one_without_options_shows_none(api: Api) -> None:
    await invite(api, request())
    delivery = await claimed(api)
    assert delivery.options is NO_OPTIONS
    found = await get(api, name_of(delivery))
    set_fields = {field.name for field, _ in found.ListFields()}
    assert not set_fields & set(TEXTS)


async def test_a_batch_keeps_the_options_of_each(api: Api) -> None:
    notes = ["", "one", "", "two"]
    for note in notes:
        await invite(api, request(note=note))
    found = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    assert [each.options.note for each in found] == notes


async def test_a_key_stands_for_the_options_too(api: Api) -> None:
    key, body = str(uuid.uuid4()), request(note="one")
    first = await invite(api, body, idempotency_key=key)
    assert (await invite(api, body, idempotency_key=key)).name == first.name
    changes: list[dict[str, Any]] = [
        {"note": "two"},
        {"language_code": "en"},
        {"inviter_display_name": "I"},
    ]
    for change in changes:
        changed = customer_service_pb2.InviteCustomerRequest()
        changed.CopyFrom(body)
        changed.MergeFrom(customer_service_pb2.InviteCustomerRequest(**change))
        _, reason, _ = await refusal(invite(api, changed, idempotency_key=key))
        assert reason == "IDEMPOTENCY_KEY_REUSED"


async def test_wrong_texts_are_refused_all_at_once(api: Api) -> None:
    for language in ("xx", "EN", "en-US", "en,ru", "ru\n", "russian"):
        wrong = await wrong_fields(
            invite(
                api,
                request(language_code=language, note="n" * 1025, inviter_display_name="i" * 201),
            )
        )
        assert set(wrong) == {"language_code", "note", "inviter_display_name"}
        assert "Must be one of en, ru." in wrong["language_code"]
        assert wrong["note"] == "Must be <=1024 characters long."
    for note in ("a\tb", "a\rb", "a\u2028b", "a\u202eb", "\0", "\n", " \u200b"):
        assert set(await wrong_fields(invite(api, request(note=note)))) == {"note"}
    for inviter in ("a\nb", "a\u202eb", "\u200b"):
        wrong = await wrong_fields(invite(api, request(inviter_display_name=inviter)))
        assert set(wrong) == {"inviter_display_name"}
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), timedelta(minutes=1))


def test_the_languages_that_can_be_asked_for_are_those_that_there_are() -> None:
    fields = customer_service_pb2.InviteCustomerRequest.DESCRIPTOR.fields_by_name
    pattern = fields["language_code"].GetOptions().Extensions[validation_pb2.pattern]
    assert pattern.split("|") == [each.value for each in LanguageCode]


@pytest.mark.parametrize("field", [*TEXTS])
def test_requests_and_invitations_have_the_same_fields(field: str) -> None:
    shown = invitation_pb2.Invitation.DESCRIPTOR.fields_by_name[field]
    asked = customer_service_pb2.InviteCustomerRequest.DESCRIPTOR.fields_by_name[field]
    assert shown.type == asked.type


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=round(value % 1 * 10**9))


async def test_an_invitation_holds_as_long_as_was_asked_for(api: Api) -> None:
    await invite(api, request(time_to_live=seconds(3600.5)))
    delivery = await claimed(api)
    lifetime = timedelta(seconds=3600.5)
    assert delivery.expires_at == api.clock() + lifetime
    await api.storage.mail.finish_delivery(delivery, api.clock())
    name = name_of(delivery)
    found = await get(api, name)
    assert found.time_to_live.ToTimedelta() == lifetime
    assert found.expire_time.ToDatetime(UTC) == api.clock() + lifetime
    api.clock.advance(timedelta(minutes=50))
    await resend(api, name)
    assert (await get(api, name)).expire_time.ToDatetime(UTC) == api.clock() + lifetime
    api.clock.advance(lifetime)
    assert (await get(api, name)).state == invitation_pb2.Invitation.EXPIRED


async def test_lengths_of_time_at_the_limits_and_beyond(api: Api) -> None:
    for value in (3600, 7_776_000):
        await invite(api, request(time_to_live=seconds(value)))
    for wrong in (
        *(seconds(value) for value in (0, 3599, 3599.9, 7_776_001, -3600, 315_576_000_000)),
        duration_pb2.Duration(seconds=7_776_000, nanos=1),
    ):
        said = await wrong_fields(invite(api, request(time_to_live=wrong, delivery_method=9)))
        assert said == {
            "time_to_live": "Must be from 3600s to 7776000s (90 days).",
            "delivery_method": "Must be EMAIL or LINK.",
        }
    for nanos in (-1, 2_000_000_000):
        none = duration_pb2.Duration(seconds=7200, nanos=nanos)
        said = await wrong_fields(invite(api, request(time_to_live=none)))
        assert said["time_to_live"].startswith("Its nanos must be from -999999999")


async def by_link(api: Api, **fields: Any) -> str:
    """Invites without an e-mail; returns the invitation's name."""
    body = request(delivery_method=invitation_pb2.Invitation.LINK, **fields)
    operation = await invite(api, body)
    assert operation.done
    assert operation.HasField("response")
    found = await listed(api, filter=f'email = "{email_of(body)}"')
    return str(found.invitations[0].name)


def create_link(api: Api, name: str, who: str = "writer", **headers: str) -> Awaitable[Any]:
    call: Awaitable[Any] = api.invitations.CreateInvitationLink(
        invitation_service_pb2.CreateInvitationLinkRequest(name=name),
        metadata=api.as_(who, **headers),
    )
    return call


async def token_of(api: Api, name: str, **headers: str) -> str:
    link = await create_link(api, name, **headers)
    prefix, _, token = link.uri.rpartition("/")
    assert prefix.endswith("/invitations")
    assert link.expire_time == (await get(api, name)).expire_time
    return str(token)


async def test_an_invitation_by_link_sends_no_e_mail(api: Api) -> None:
    name = await by_link(api)
    found = await get(api, name)
    assert found.delivery_method == invitation_pb2.Invitation.LINK
    assert found.delivery.state == invitation_pb2.Invitation.Delivery.LINK_ONLY
    assert found.state == invitation_pb2.Invitation.PENDING
    first, second = [await token_of(api, name) for _ in range(2)]
    assert first != second
    accepted = await accept(api, first)
    assert accepted.state == invitation_pb2.Invitation.ACCEPTED
    _, reason, _ = await refusal(create_link(api, name))
    assert reason == "INVITATION_STATE"
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    assert await event_types(api) == [
        "customer.invited",
        "invitation.link_created",
        "invitation.link_created",
        "invitation.accepted",
    ]


async def test_links_hold_until_the_invitation_is_sent_again(api: Api) -> None:
    name = await by_link(api)
    old = await token_of(api, name)
    api.clock.advance(timedelta(days=1))
    operation = await resend(api, name)
    assert operation.done
    new = await token_of(api, name)
    code, _, _ = await refusal(accept(api, old))
    assert code == grpc.StatusCode.NOT_FOUND
    assert (await get(api, name)).expire_time.ToDatetime(UTC) == api.clock() + timedelta(days=30)
    assert (await accept(api, new)).state == invitation_pb2.Invitation.ACCEPTED
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)


async def test_the_address_of_one_by_link_is_corrected_without_an_e_mail(api: Api) -> None:
    name = await by_link(api)
    old = await token_of(api, name)
    email = f"{uuid.uuid4().hex}@example.com"
    corrected = await api.invitations.UpdateInvitation(
        invitation_service_pb2.UpdateInvitationRequest(
            invitation=invitation_pb2.Invitation(name=name, email=email)
        ),
        metadata=api.as_("writer"),
    )
    assert corrected.email == email
    assert corrected.delivery.state == invitation_pb2.Invitation.Delivery.LINK_ONLY
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    code, _, _ = await refusal(accept(api, old))
    assert code == grpc.StatusCode.NOT_FOUND
    assert (await accept(api, await token_of(api, name))).email == email


async def test_a_wrong_address_is_named_beside_all_else_that_is_wrong(api: Api) -> None:
    said = await wrong_fields(
        api.invitations.UpdateInvitation(
            invitation_service_pb2.UpdateInvitationRequest(
                invitation=invitation_pb2.Invitation(
                    name=await by_link(api), email="nonsense", note="n" * 2000
                ),
                update_mask=field_mask_pb2.FieldMask(paths=["email", "state"]),
            ),
            metadata=api.as_("writer"),
        )
    )
    assert set(said) == {"invitation.email", "invitation.note", "update_mask"}


async def test_a_link_holds_beside_that_of_the_e_mail(api: Api) -> None:
    made = await sent(api)
    token = await token_of(api, made.name)
    assert (await decline(api, made.token)).state == invitation_pb2.Invitation.DECLINED
    code, reason, _ = await refusal(accept(api, token))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVITATION_STATE")


async def test_a_link_before_the_e_mail_makes_that_needless(api: Api) -> None:
    operation = await invite(api, request())
    (found,) = (await listed(api)).invitations
    await accept(api, await token_of(api, found.name))
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    ended = await api.longrunning.GetOperation(
        operations_pb2.GetOperationRequest(name=operation.name), metadata=api.as_("writer")
    )
    assert ended.done
    assert ended.HasField("response")
    assert "invitation.sent" not in await event_types(api)
    assert not (await get(api, found.name)).HasField("delivery")


async def test_a_link_is_shown_once(api: Api) -> None:
    name, key = await by_link(api), str(uuid.uuid4())
    token = await token_of(api, name, idempotency_key=key)
    code, reason, _ = await refusal(create_link(api, name, idempotency_key=key))
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "LINK_SHOWN_ONCE")
    code, reason, _ = await refusal(create_link(api, await by_link(api), idempotency_key=key))
    assert reason == "IDEMPOTENCY_KEY_REUSED"
    assert (await event_types(api)).count("invitation.link_created") == 1
    shown = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(parent=PARENT), metadata=api.as_("reader")
    )
    assert token not in str(shown)
    assert (await accept(api, token)).state == invitation_pb2.Invitation.ACCEPTED


async def test_an_invitation_has_so_many_links_until_it_is_sent_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.invitations.actions.MOST_LINKS", 2)
    name = await by_link(api)
    first, _ = [await token_of(api, name) for _ in range(2)]
    code, reason, _ = await refusal(create_link(api, name))
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LINK_LIMIT_REACHED")
    await resend(api, name)
    # Or resends would make as many as one likes.
    code, reason, _ = await refusal(resend(api, name))
    assert reason == "RESENT_TOO_SOON"
    token = await token_of(api, name)
    code, _, _ = await refusal(accept(api, first))
    assert code == grpc.StatusCode.NOT_FOUND
    assert (await accept(api, token)).state == invitation_pb2.Invitation.ACCEPTED


async def test_only_editors_make_links(api: Api) -> None:
    name = await by_link(api)
    for who in ("reader", "foreigner", "nobody"):
        code, _, _ = await refusal(create_link(api, name, who))
        assert code == grpc.StatusCode.PERMISSION_DENIED
    for wrong in (f"{name}x", f"{PARENT}/invitations/inv{'0' * 17}"):
        code, _, _ = await refusal(create_link(api, wrong))
        assert code == grpc.StatusCode.NOT_FOUND


async def event_types(api: Api) -> list[str]:
    found = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(parent=PARENT), metadata=api.as_("reader")
    )
    return [each.type for each in found.events if not each.type.startswith("access.")]


async def test_pages_lead_back_to_listed_origins_alone(api: Api) -> None:
    listed_ = {"reseller-1": "https://shop.example", "reseller-2": "https://other.example"}
    for reseller, origin in listed_.items():
        await api.storage.administration.change_return_origins(
            reseller, origin, api.clock(), add=True
        )
    uri, key = "https://Shop.example/welcome?from=us#top", str(uuid.uuid4())
    body = request(return_uri=uri)
    first = await invite(api, body, idempotency_key=key)
    delivery = await claimed(api)
    assert (await get(api, name_of(delivery))).return_uri == uri
    for wrong in (
        "https://other.example/",
        "https://shop.example.evil.example/",
        "https://evil.example/shop.example",
        "https://shop.example:8443/",
        "http://shop.example/",
        "https://shop.example@evil.example/",
        "https://sh\u043ep.example/",
        "javascript:alert(1)",
    ):
        said = await wrong_fields(invite(api, request(return_uri=wrong)))
        assert set(said) == {"return_uri"}, wrong
    assert (
        "it has https://shop.example"
        in (await wrong_fields(invite(api, request(return_uri="https://evil.example"))))[
            "return_uri"
        ]
    )
    await api.storage.administration.change_return_origins(
        "reseller-1", "https://shop.example", api.clock(), add=False
    )
    # What was accepted before is answered as before.
    assert (await invite(api, body, idempotency_key=key)).name == first.name
    said = await wrong_fields(invite(api, request(return_uri=uri)))
    assert "it is empty" in said["return_uri"]


def check_resend(api: Api, name: str, **headers: str) -> Awaitable[Any]:
    call: Awaitable[Any] = api.invitations.ResendInvitation(
        invitation_service_pb2.ResendInvitationRequest(name=name, validate_only=True),
        metadata=api.as_("writer", **headers),
    )
    return call


async def test_sending_again_can_be_checked_first(api: Api) -> None:
    made = await sent(api)
    before, events = await get(api, made.name), await event_types(api)
    key = str(uuid.uuid4())
    checked = await check_resend(api, made.name, idempotency_key=key)
    assert checked.done
    assert checked.name == ""
    shown = invitation_pb2.Invitation()
    assert checked.response.Unpack(shown)
    assert shown == before
    assert await get(api, made.name) == before
    assert await event_types(api) == events
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    # The key stands for nothing: the call itself may have it.
    await resend(api, made.name, idempotency_key=key)
    _, reason, _ = await refusal(check_resend(api, made.name))
    assert reason == "RESENT_TOO_SOON"
    again = await claimed(api)
    await api.storage.mail.finish_delivery(again, api.clock())
    await accept(api, again.link_token)
    _, reason, _ = await refusal(check_resend(api, made.name))
    assert reason == "INVITATION_STATE"
    code, _, _ = await refusal(check_resend(api, f"{made.name}x"))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_checking_leaves_an_e_mail_that_waits_as_it_is(api: Api) -> None:
    await invite(api, request())
    delivery = await claimed(api)
    _, reason, _ = await refusal(check_resend(api, name_of(delivery)))
    assert reason == "MAIL_UNDER_WAY"
    next_at = api.clock() + timedelta(hours=1)
    deferral = Deferral(1, "the mail server said 451", next_at)
    await api.storage.mail.retry_delivery(delivery, next_at, api.clock(), deferral)
    api.clock.advance(timedelta(minutes=30))
    before = await get(api, name_of(delivery))
    await check_resend(api, name_of(delivery))
    assert await get(api, name_of(delivery)) == before
    assert not await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)


async def test_inviting_can_be_checked_first(api: Api) -> None:
    email, link = invitation_pb2.Invitation.EMAIL, invitation_pb2.Invitation.LINK
    events = await event_types(api)
    for method in (email, link):
        checked = await invite(
            api, request(**TEXTS, delivery_method=method, validate_only=True, time_to_live=HOUR)
        )
        assert (checked.done, checked.name) == (True, "")
    said = await wrong_fields(
        invite(api, request(return_uri="https://evil.example", validate_only=True))
    )
    assert set(said) == {"return_uri"}
    made = request()
    await invite(api, made)
    again = request(validate_only=True)
    again.customer.email = made.customer.email
    _, reason, _ = await refusal(invite(api, again))
    assert reason == "INVITATION_OPEN"
    assert len((await listed(api)).invitations) == 1
    assert await event_types(api) == [*events, "customer.invited"]
    assert len(await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)) == 1
