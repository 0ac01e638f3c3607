import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2

from server.domain.errors import BillingError, FieldViolation, Reason, Resource
from server.domain.operations import CANCELLED, Failure
from server.rpc.pipeline.errors import CODES, call_status, operation_status

ERROR = BillingError(
    Reason.STORAGE_UNAVAILABLE,
    "Try again.",
    metadata={"a": "b"},
    fields=[FieldViolation("person.email", "Not an address.")],
    resource=Resource("some.Type", "x1"),
    retry_after_s=1.5,
)


def detail(status: Message, kind: type[Message]) -> Message:
    found = kind()
    assert any(packed.Unpack(found) for packed in status.details)  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_code(reason: Reason) -> None:
    status = call_status(BillingError(reason, "text"), "req")
    assert status.code == CODES[reason] != code_pb2.OK
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason.value, "billing.example.com")  # type: ignore[attr-defined]


def test_a_status_carries_every_detail_that_the_error_has() -> None:
    status = call_status(ERROR, "req-7")
    assert status.code == code_pb2.UNAVAILABLE
    assert status.message == "Try again. person.email: Not an address."
    assert detail(status, error_details_pb2.ErrorInfo) == error_details_pb2.ErrorInfo(
        reason="STORAGE_UNAVAILABLE", domain="billing.example.com", metadata={"a": "b"}
    )
    bad = detail(status, error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [  # type: ignore[attr-defined]
        ("person.email", "Not an address.")
    ]
    assert detail(status, error_details_pb2.ResourceInfo).resource_name == "x1"  # type: ignore[attr-defined]
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1500  # type: ignore[attr-defined]
    assert detail(status, error_details_pb2.RequestInfo).request_id == "req-7"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("seconds", "told_ms"), [(0.0, 1), (0.0002, 1), (0.0251, 26), (2.0, 2000)])
def test_nobody_is_told_to_come_back_too_early(seconds: float, told_ms: int) -> None:
    error = BillingError(Reason.RATE_EXCEEDED, "text", retry_after_s=seconds)
    retry = detail(call_status(error, "req"), error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == told_ms  # type: ignore[attr-defined]


def test_a_cancelled_operation_ends_with_code_1() -> None:
    assert operation_status(CANCELLED).code == code_pb2.CANCELLED


def test_an_operations_error_names_its_reason() -> None:
    status = operation_status(Failure(Reason.RECIPIENT_REFUSED, "No.", {"smtpCode": "550"}))
    info = detail(status, error_details_pb2.ErrorInfo)
    assert info.metadata == {"smtpCode": "550"}  # type: ignore[attr-defined]


def test_fields_are_named_as_in_json_for_who_wrote_json() -> None:
    error = BillingError(
        Reason.FIELDS_INVALID,
        "Wrong.",
        fields=[FieldViolation(f"person.post_code{n}", "No.") for n in range(5)],
    )
    status = call_status(error, "req", json_names=True)
    bad = detail(status, error_details_pb2.BadRequest)
    assert [v.field for v in bad.field_violations] == [f"person.postCode{n}" for n in range(5)]  # type: ignore[attr-defined]
    assert status.message.endswith("person.postCode2: No. (and 2 more)")


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("customer.display_name", "displayName"),
        ("customer", "customer"),
        ("customers.display_name", "customers.displayName"),
        ("update_mask", "updateMask"),
    ],
)
def test_fields_of_a_body_that_is_one_field_are_named_as_there(field: str, shown: str) -> None:
    error = BillingError(Reason.FIELDS_INVALID, "Wrong.", fields=[FieldViolation(field, "No.")])
    status = call_status(error, "req", json_names=True, body="customer")
    bad = detail(status, error_details_pb2.BadRequest)
    assert [v.field for v in bad.field_violations] == [shown]  # type: ignore[attr-defined]
    assert status.message == f"Wrong. {shown}: No."


@pytest.mark.parametrize(("json_names", "shown"), [(False, "create_time"), (True, "createTime")])
def test_a_description_names_fields_as_the_caller_writes_them(json_names: bool, shown: str) -> None:
    wrong = FieldViolation("update_mask", "No create_time.", "No createTime.")
    error = BillingError(Reason.FIELDS_INVALID, "Wrong.", fields=[wrong])
    status = call_status(error, "req", json_names=json_names)
    bad = detail(status, error_details_pb2.BadRequest)
    assert [v.description for v in bad.field_violations] == [f"No {shown}."]  # type: ignore[attr-defined]
    assert status.message.endswith(f": No {shown}.")
