"""What may stand in a text, what counts as one, and how long one may be."""

import pytest
from billing.options.v1 import format_pb2
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import invitation_service_pb2, webhook_service_pb2
from google.longrunning import operations_pb2, operations_proto_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.operation import operation_service_pb2

from server.domain.errors import BillingError
from server.domain.texts import is_visible, unfit
from server.rpc.pipeline.validation import validate


@pytest.mark.parametrize(
    "text",
    [
        "\u200b", "\u2800", "\u3164", "\u115f", "\u1160", "\uffa0", "\u00a0\u3000", "\u034f\ufe0f",
        "\u2800 \u3164", "\U000e0100", "", " ", "\ufffc",
    ],
)  # fmt: skip
def test_what_shows_nothing_is_not_there(text: str) -> None:
    assert not is_visible(text)


@pytest.mark.parametrize(
    "text", ["a", "ы", "7", "!", "☃", "한", "ᄀ", "ا", "क", "\u0301", "👨‍👩‍👧", "\u2801"]
)
def test_what_shows_something_is_there(text: str) -> None:
    assert is_visible(text)
    assert unfit(text) is None


@pytest.mark.parametrize(
    "code",
    [
        *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x200B, 0x2060,
        0xFEFF, 0x00AD, 0x180E, 0x2061, 0x2065, 0x206A, 0xFFF9, 0xE0001, 0xE0041, 0x1D173, 0x200C,
        0x200D, 0xFFFE, 0xFDD0, 0x10FFFF, 0xE000, 0xF8FF, 0x100000, 0x00, 0x1B, 0x7F, 0x91, 0x2028,
    ],
)  # fmt: skip
def test_invisible_characters_are_refused_by_code_point(code: int) -> None:
    for text in (f"Romashka{chr(code)}Ltd", f"Ромашка{chr(code)}", chr(code) + "花"):
        wrong = unfit(text)
        assert wrong
        assert f"U+{code:04X}" in wrong


@pytest.mark.parametrize(
    "text",
    [
        "می‌خواهم", "کتاب‌ها", "نامه‌ای", "क्‍ष", "ಕ್‌ಷ", "ශ්‍රී ලංකා", "ഇന്‍ഡ്യ", "ک‍",
        "👨‍👩‍👧‍👦", "🏳️‍🌈", "👩🏽‍💻", "❤️‍🔥", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "ភាសា​ខ្មែរ", "ภาษา​ไทย",
        "ᠠᠮᠠᠭ᠎ᠠ", "ООО\u00a0«Ромашка»", "L’Oréal", "株式会社", "שלום", "\u0601٢٠٢٦", "🫩",
    ],
)  # fmt: skip
def test_what_a_script_needs_passes(text: str) -> None:
    assert unfit(text) is None


def test_errors_name_the_field_and_the_code_point() -> None:
    request = customers.InviteCustomerRequest(
        reseller_id="r",
        name="\u3164",
        invitation_email="a@example.com",
        person=customers.CustomerPerson(name="Ivan\u202egnp", legal_address="\ufeffMoscow"),
    )
    with pytest.raises(BillingError) as refused:
        validate(request)
    assert [(each.field, each.description) for each in refused.value.fields] == [
        ("name", "Required."),
        ("person.name", "Must not hold invisible format characters (found U+202E)."),
        ("person.legal_address", "Must not hold invisible format characters (found U+FEFF)."),
    ]


@pytest.mark.parametrize("text", ["\u2800", "\u3164\u00a0", " ", "\ufe0f", "\u034f"])
def test_texts_that_may_be_left_out_are_seen_where_they_are_given(text: str) -> None:
    request = customers.InviteCustomerRequest(
        reseller_id="r",
        name="Horns",
        invitation_email="a@example.com",
        person=customers.CustomerPerson(name=text, longname=text, post_address=text, tin=""),
    )
    with pytest.raises(BillingError) as refused:
        validate(request)
    assert {each.field for each in refused.value.fields} == {
        "person.name", "person.longname", "person.post_address",
    }  # fmt: skip
    assert all("can be seen" in each.description for each in refused.value.fields)


def _texts(message: Descriptor, path: str = "") -> list[tuple[str, FieldDescriptor]]:
    found = []
    for field in message.fields:
        opaque = field.GetOptions().Extensions[format_pb2.format] == format_pb2.FORMAT_OPAQUE
        if field.type == FieldDescriptor.TYPE_STRING and not opaque:
            found.append((path + field.name, field))
        elif field.message_type and field.message_type.GetOptions().map_entry:
            continue  # labels, which have rules of their own
        elif field.message_type and field.message_type.full_name != "google.protobuf.Any":
            found += _texts(field.message_type, f"{path}{field.name}.")
    return found


_MODULES = (
    customers, google_customers, invitation_service_pb2, operations_proto_pb2,
    operation_service_pb2, api_endpoint_service_pb2, iam_token_service_pb2, webhook_service_pb2,
)  # fmt: skip
_SERVICES = [
    service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()
]


@pytest.mark.parametrize("service", _SERVICES, ids=lambda service: service.full_name)
def test_every_text_of_every_request_has_a_limit(service: ServiceDescriptor) -> None:
    for method in service.methods:
        for path, field in _texts(method.input_type):
            request = GetMessageClass(method.input_type)()
            part = request
            *ways, name = path.split(".")
            for way in ways:
                part = getattr(part, way)
            if field.is_repeated:
                getattr(part, name).append("x" * 8001)
                path += "[0]"
            else:
                setattr(part, name, "x" * 8001)
            with pytest.raises(BillingError) as refused:
                validate(request)
            wrong = {each.field: each.description for each in refused.value.fields}
            assert "characters long" in wrong[path], path


@pytest.mark.parametrize(
    ("path", "longest"),
    [
        ("name", 1024), ("invitation_email", 254), ("person.name", 1024), ("person.longname", 1024),
        ("person.phone", 64), ("person.email", 254), ("person.post_code", 64),
        ("person.post_address", 4096), ("person.legal_address", 4096), ("person.tin", 64),
    ],
)  # fmt: skip
def test_limits_count_characters(path: str, longest: int) -> None:
    for size, right in ((longest, True), (longest + 1, False)):
        request = customers.InviteCustomerRequest(reseller_id="r", name="n")
        *ways, name = path.split(".")
        part = request.person if ways else request
        setattr(part, name, "\N{SNOWMAN}" * size)
        with pytest.raises(BillingError) as refused:
            validate(request)
        too_long = f"Must be <={longest} characters long."
        assert (too_long in [each.description for each in refused.value.fields]) is not right


def test_google_s_own_messages_are_limited_too() -> None:
    request = operations_pb2.ListOperationsRequest(
        name="x" * 101, filter="y" * 1001, page_size=-1, page_token="z" * 101
    )
    with pytest.raises(BillingError) as refused:
        validate(request)
    assert {each.field for each in refused.value.fields} == {
        "name", "filter", "page_size", "page_token",
    }  # fmt: skip
