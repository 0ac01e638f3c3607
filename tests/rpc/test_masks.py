"""Update masks: one rule for all that can be changed."""

from collections.abc import Sequence

import pytest
from billing.v1 import customer_pb2, invitation_pb2, invitation_service_pb2, webhook_pb2
from google.protobuf import field_mask_pb2

from server.domain.errors import BillingError, Reason
from server.rpc.messages.invitations import check_mask, new_email
from server.rpc.messages.masks import ALL, Path, read_mask

CUSTOMER = customer_pb2.Customer.DESCRIPTOR
SETTABLE = ("display_name", "person", "labels")


def read(*paths: str) -> list[Path]:
    mask = field_mask_pb2.FieldMask(paths=paths)
    return read_mask(mask, CUSTOMER, SETTABLE, known=("email",))


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([], []),
        (["*"], [ALL]),
        (["*", "*"], [ALL]),
        (["displayName", "display_name"], [Path("display_name")]),
        (["person", "email"], [Path("person"), Path("email")]),
        (["person.postCode", "person.post_code"], [Path("person", "post_code")]),
        (["labels", "labels.tier"], [Path("labels"), Path("labels", "tier")]),
        (["labels.`tier`", "labels.a.b"], [Path("labels", "tier"), Path("labels", "a.b")]),
        (["labels."], [Path("labels", "")]),
    ],
)
def test_a_mask_names_fields_parts_and_keys(paths: Sequence[str], found: Sequence[Path]) -> None:
    assert read(*paths) == found


def faults(error: BillingError) -> list[str]:
    assert error.reason is Reason.FIELDS_INVALID
    assert {each.field for each in error.fields} <= {"update_mask"}
    return [each.description for each in error.fields]


KNOWN = "name some of display_name, person, labels, a part of person or labels, or * for all."


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["*", "person"], ["* stands for all fields: name no other beside it."]),
        (["state", "createTime"], ["state can't be set.", "createTime can't be set."]),
        (["external_id"], ["external_id can't be set."]),
        *(
            ([name], [f"There is no field {name}; {KNOWN}"])
            for name in (
                *(
                    "nope",
                    "DisplayName",
                    "display_Name",
                    "display__name",
                    " person",
                    "customer.person",
                ),
                *("person.", "person.*", "person.inn", "person.tin.x", "person..tin", ".person"),
                *("displayName.", "displayName.x", "state.x", "Labels.tier"),
            )
        ),
        (["x" * 51], [f"There is no field {'x' * 49}…; {KNOWN}"]),
        (list("abcd"), [f"There is no field {name}; {KNOWN}" for name in "abc"]),
    ],
)
def test_what_a_mask_cant_name_is_told(paths: Sequence[str], says: Sequence[str]) -> None:
    with pytest.raises(BillingError) as raised:
        read(*paths)
    assert faults(raised.value) == says


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("create_time", "createTime can't be set."),
        ("billing_account_id", "billingAccountId can't be set."),
        ("nope", f"There is no field nope; {KNOWN.replace('display_name', 'displayName')}"),
    ],
)
def test_fields_are_named_as_in_json_to_those_who_write_them_so(path: str, says: str) -> None:
    with pytest.raises(BillingError) as raised:
        read(path)
    assert [each.json_description for each in raised.value.fields] == [says]


def test_parts_and_keys_are_named_as_in_json_too() -> None:
    with pytest.raises(BillingError) as raised:
        read_mask(field_mask_pb2.FieldMask(paths=["person.post_code", "labels.a_b"]), CUSTOMER, ())
    said = [each.json_description for each in raised.value.fields]
    assert said == ["person.postCode can't be set.", "labels.a_b can't be set."]


def test_elements_of_lists_have_no_names() -> None:
    with pytest.raises(BillingError) as raised:
        read_mask(
            field_mask_pb2.FieldMask(paths=["types.0"]), webhook_pb2.Webhook.DESCRIPTOR, ("types",)
        )
    assert faults(raised.value) == ["There is no field types.0; name some of types, or * for all."]


def correction(email: str, *paths: str) -> str | None:
    request = invitation_service_pb2.UpdateInvitationRequest(
        invitation=invitation_pb2.Invitation(email=email),
        update_mask=field_mask_pb2.FieldMask(paths=paths),
    )
    check_mask(request)
    return new_email(request)


def test_of_an_invitation_the_address_alone_is_named() -> None:
    for paths in ([], ["email"], ["*"]):
        assert correction("a@Example.com", *paths) == "a@example.com"
    assert correction("") is None
    for paths in (["email"], ["*"]):
        with pytest.raises(BillingError, match="not valid"):
            correction("", *paths)
    for paths in (["state"], ["create_time", "email"], ["*", "email"], ["nope"]):
        with pytest.raises(BillingError) as raised:
            correction("a@example.com", *paths)
        assert faults(raised.value)
