"""What an invitation says and does beside who invites whom."""

import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2, customer_service_pb2, event_service_pb2, invitation_pb2
from google.rpc import error_details_pb2
from yandex.cloud import validation_pb2

from server.domain.invitation_options import NO_OPTIONS, InvitationOptions
from server.languages import LanguageCode
from server.storage.interface import Delivery
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_invitations import LEASE, PARENT, detail, get, listed

NOTE = "Dear Ivan,\r\nyour account is ready.\n\nSee you on Monday"
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
