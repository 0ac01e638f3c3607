import pytest
from billing.options.v1 import format_pb2
from billing.v1 import customer_service_pb2, invitation_pb2, invitation_service_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud import validation_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from server.domain.errors import BillingError, FieldViolation, Reason, invalid_fields
from server.rpc.formats.addresses import normal_address
from server.rpc.pipeline.validation import validate


def invitation(**changes: object) -> customers.InviteCustomerRequest:
    fields: dict[str, object] = {
        "reseller_id": "r1",
        "name": "Рога и копыта",
        "invitation_email": "ostap@example.com",
        "person": {"name": "Остап"},
    }
    return customers.InviteCustomerRequest(**{**fields, **changes})  # type: ignore[arg-type]


def wrong(request: object) -> list[str]:
    with pytest.raises(BillingError) as refused:
        validate(request)  # type: ignore[arg-type]
    assert refused.value.reason is Reason.FIELDS_INVALID
    assert all(violation.description for violation in refused.value.fields)
    return [violation.field for violation in refused.value.fields]


def test_a_right_request_passes() -> None:
    validate(invitation())
    validate(invitation(reseller_id="ы" * 50))
    validate(invitation(person={}))


def test_all_missing_fields_are_named_at_once() -> None:
    assert wrong(customers.InviteCustomerRequest()) == [
        "reseller_id",
        "name",
        "invitation_email",
        "person",
    ]


def test_fields_that_are_needed_in_one_place_are_asked_for_there() -> None:
    parent = "resellers/r1"
    bare = customer_service_pb2.InviteCustomerRequest(parent=parent)
    bare.customer.SetInParent()
    assert wrong(bare) == ["customer.display_name", "customer.email"]
    bare.customer.email = "ostap@example.com"
    assert wrong(bare) == ["customer.display_name"]
    served = customer_service_pb2.CreateCustomerRequest(parent=parent)
    served.customer.SetInParent()
    assert wrong(served) == ["customer.display_name"]


def test_an_invitation_can_be_sent_back_as_it_was_read() -> None:
    read = invitation_pb2.Invitation(name="resellers/r1/invitations/i1", note="One line,\nanother.")
    validate(invitation_service_pb2.UpdateInvitationRequest(invitation=read))


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"reseller_id": "x" * 51}, ["reseller_id"]),
        ({"name": " \t"}, ["name", "name"]),
        ({"name": "   "}, ["name"]),
        ({"name": "a\0b"}, ["name"]),
        ({"name": "a\u2028b"}, ["name"]),
        ({"invitation_email": "no address"}, ["invitation_email"]),
        ({"invitation_email": "a@b@example.com"}, ["invitation_email"]),
        ({"invitation_email": "a@example.com\r\nBcc: b@example.com"}, ["invitation_email"] * 2),
        ({"invitation_email": "a" * 65 + "@example.com"}, ["invitation_email"]),
        ({"person": {"email": "x", "phone": "y"}}, ["person.phone", "person.email"]),
        ({"person": {"legal_address": "a\nb"}}, ["person.legal_address"]),
        ({"name": "", "person": {"phone": "12"}}, ["name", "person.phone"]),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, object], fields: list[str]) -> None:
    assert wrong(invitation(**changes)) == fields


@pytest.mark.parametrize(
    "address",
    [
        "почта@пример.рф",
        "a+b@example.com",
        "o'hara@example.co.uk",
        "иван@example.test",
        "δοκιμή@παράδειγμα.gr",
    ],
)
def test_addresses_in_any_script_pass(address: str) -> None:
    validate(invitation(invitation_email=address))


def test_an_address_has_one_normal_form() -> None:
    assert normal_address("Ivan@EXAMPLE.Com") == "Ivan@example.com"
    assert normal_address("cafe\u0301@example.com") == "café@example.com"


@pytest.mark.parametrize(
    "phone",
    ["+7 495 123-45-67", "8 (800) 555-35-35", "+44 20 7946 0958", "+15551234567", "+998901234567"],
)
def test_telephone_numbers_pass(phone: str) -> None:
    validate(invitation(person={"phone": phone}))


@pytest.mark.parametrize(
    "phone",
    ["phone", "123", "+7 495 123-45-67 call me", "+", "00000", "abc+74951234567", "+7" * 40],
)
def test_what_is_no_telephone_number_is_refused(phone: str) -> None:
    assert wrong(invitation(person={"phone": phone})) == ["person.phone"]


@pytest.mark.parametrize(("size", "right"), [(0, True), (1000, True), (1001, False), (-1, False)])
def test_a_page_size_over_1000_or_negative_is_refused(size: int, right: bool) -> None:
    request = customers.ListCustomersRequest(reseller_id="r", page_size=size)
    assert right or wrong(request) == ["page_size"]
    if right:
        validate(request)


@pytest.mark.parametrize(
    ("reseller", "right"),
    [
        ("my-reseller.1", True),
        ("01234567-89ab-cdef-0123-456789abcdef", True),
        ("01234567-89ab-cdef-0123-" + "0123456789abcdef" * 2, False),
        ("UPPER", False),
        ("-a", False),
        ("a-", False),
        ("a", False),
    ],
)
def test_reseller_ids_of_served_customers(reseller: str, right: bool) -> None:
    request = customers.CreateResellerServedCustomerRequest(
        reseller_id=reseller, name="n", person=customers.CustomerPerson(name="p")
    )
    assert right or "reseller_id" in wrong(request)
    if right:
        validate(request)


def test_a_new_type_needs_no_new_code() -> None:
    """Options in any message are obeyed, in nested, repeated and numeric fields too."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="made.proto",
        package="made",
        syntax="proto3",
        dependency=["yandex/cloud/validation.proto"],
    )
    inner = file.message_type.add(name="Inner")
    code = inner.field.add(name="code", number=1, type=field_type.TYPE_STRING, label=1)
    code.options.Extensions[validation_pb2.pattern] = "[A-Z]+"
    code.options.Extensions[validation_pb2.length] = "2-3"
    outer = file.message_type.add(name="Outer")
    outer.field.add(
        name="inners", number=1, type=field_type.TYPE_MESSAGE, type_name=".made.Inner", label=3
    )
    tags = outer.field.add(name="tags", number=2, type=field_type.TYPE_STRING, label=3)
    tags.options.Extensions[validation_pb2.size] = "<=2"
    tags.options.Extensions[validation_pb2.unique] = True
    tags.options.Extensions[format_pb2.format] = format_pb2.FORMAT_EMAIL
    count = outer.field.add(name="count", number=3, type=field_type.TYPE_INT32, label=1)
    count.options.Extensions[validation_pb2.value] = ">0"
    pool = descriptor_pool.Default()
    outer_type = message_factory.GetMessageClass(
        pool.AddSerializedFile(file.SerializeToString()).message_types_by_name["Outer"]
    )
    validate(outer_type(inners=[{"code": "AB"}], tags=["a@example.com"], count=1))
    bad = outer_type(inners=[{"code": "AB"}, {"code": "ab"}], tags=["x", "x"], count=0)
    assert wrong(bad) == ["inners[1].code", "tags", "tags[0]", "tags[1]", "count"]
    # What is over its limit is looked at no closer.
    bad = outer_type(inners=[{"code": "abcd"}], tags=["x", "x", "y"], count=1)
    assert wrong(bad) == ["inners[0].code", "tags"]


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gets_a_verdict(address: str, phone: str) -> None:
    named = set[str]()
    try:
        validate(invitation(invitation_email=address, person={"phone": phone}))
    except BillingError as refused:
        named = {violation.field for violation in refused.fields}
    assert named <= {"invitation_email", "person.phone"}


def test_what_no_option_says_is_named_beside_what_one_does() -> None:
    seen: list[customers.InviteCustomerRequest] = []

    def check(request: customers.InviteCustomerRequest) -> None:
        seen.append(request)
        raise invalid_fields(FieldViolation("name", "Again."), FieldViolation("person.tin", "No."))

    bad = invitation(name="x" * 2000, person={"phone": "y", "name": "Ostap"})
    with pytest.raises(BillingError) as refused:
        validate(bad, [check])
    fields = [violation.field for violation in refused.value.fields]
    assert fields == ["name", "person.phone", "person.tin"]
    # What is wrong is looked at no closer.
    assert (seen[0].name, seen[0].person.phone, seen[0].person.name) == ("", "", "Ostap")
    assert bad.name
    right = invitation()
    with pytest.raises(BillingError):
        validate(right, [check])
    assert seen[1] is right
