"""billing.v1.CustomerService: creating and changing customers."""

import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2, customer_service_pb2, event_service_pb2
from google.api import field_behavior_pb2
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2

from server.config import Settings
from server.storage.check import check
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_invitations import detail

PARENT = "resellers/reseller-1"
PERSON = {"name": "Romashka", "tin": "7700000000"}
ABORTED, EXISTS = grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS


def customer(**fields: Any) -> customer_pb2.Customer:
    given: dict[str, Any] = {"display_name": "Romashka", "person": PERSON}
    return customer_pb2.Customer(**(given | fields))


async def create(api: Api, *, validate_only: bool = False, **fields: Any) -> customer_pb2.Customer:
    made: customer_pb2.Customer = await api.google_customers.CreateCustomer(
        customer_service_pb2.CreateCustomerRequest(
            parent=PARENT, customer=customer(**fields), validate_only=validate_only
        ),
        metadata=api.as_("writer"),
    )
    return made


def invite(api: Api, *, validate_only: bool = False, **fields: Any) -> Any:
    return api.google_customers.InviteCustomer(
        customer_service_pb2.InviteCustomerRequest(
            parent=PARENT, customer=customer(**fields), validate_only=validate_only
        ),
        metadata=api.as_("writer"),
    )


def update(api: Api, *mask: str, who: str = "writer", key: str = "", **fields: Any) -> Any:
    validate_only = fields.pop("validate_only", False)
    return api.google_customers.UpdateCustomer(
        customer_service_pb2.UpdateCustomerRequest(
            customer=customer_pb2.Customer(**fields),
            update_mask=field_mask_pb2.FieldMask(paths=mask),
            validate_only=validate_only,
        ),
        metadata=api.as_(who, **({"idempotency_key": key} if key else {})),
    )


async def get(api: Api, name: str) -> customer_pb2.Customer:
    found: customer_pb2.Customer = await api.google_customers.GetCustomer(
        customer_service_pb2.GetCustomerRequest(name=name), metadata=api.as_("reader")
    )
    return found


async def types(api: Api) -> list[str]:
    page = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(parent=PARENT), metadata=api.as_("reader")
    )
    return [each.type for each in page.events if each.customer]


async def wrong(call: Any) -> dict[str, str]:
    code, reason, status = await refusal(call)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID")
    request = detail(status, error_details_pb2.BadRequest)
    return {each.field: each.description for each in request.field_violations}


@pytest.fixture(autouse=True)
async def consistent(api: Api, settings: Settings) -> Any:
    yield
    assert [each for each in check(settings.database) if each.count] == []


async def test_what_is_created_is_active_and_read_back(api: Api) -> None:
    made = await create(api, external_id="A-1", labels={"tier": "gold", "область": ""})
    assert made.state == customer_pb2.Customer.ACTIVE
    assert (made.external_id, dict(made.labels)) == ("A-1", {"tier": "gold", "область": ""})
    assert made.etag
    assert made == await get(api, made.name)
    page = await api.google_customers.ListCustomers(
        customer_service_pb2.ListCustomersRequest(parent=PARENT), metadata=api.as_("reader")
    )
    assert list(page.customers) == [made]
    assert await types(api) == ["customer.created"]


def settable(text: str) -> dict[str, Any]:
    """Returns a value for each field that callers set and change, by the contract."""
    found: dict[str, Any] = {}
    for field in customer_pb2.Customer.DESCRIPTOR.fields:
        behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if list(behavior) == [field_behavior_pb2.OPTIONAL] and field.name != "etag":
            # A field of another type needs a value here.
            others = {"person": PERSON, "labels": {"tier": "gold"}}
            found[field.name] = others.get(field.name, text)
    return found


@pytest.mark.parametrize("invited", [True, False])
async def test_every_field_that_callers_set_is_kept_and_changed(api: Api, invited: bool) -> None:
    def check_fields(made: customer_pb2.Customer, fields: dict[str, Any]) -> None:
        wanted = customer_pb2.Customer(**fields)
        for name in settable(""):
            assert getattr(made, name) == getattr(wanted, name), name

    given, others = settable("A 1"), settable("B 2")
    if invited:
        await invite(api, email="ann@example.com", **given)
        page = await api.google_customers.ListCustomers(
            customer_service_pb2.ListCustomersRequest(parent=PARENT), metadata=api.as_("reader")
        )
        (made,) = page.customers
    else:
        made = await create(api, **given)
    check_fields(made, given)
    check_fields(await update(api, *others, name=made.name, **others), others)
    check_fields(await update(api, name=made.name, **given), given)
    blank = {"display_name": "Lutik"}
    check_fields(await update(api, "*", name=made.name, **blank), blank)
    check_fields(await get(api, made.name), blank)


async def test_an_invited_customer_has_external_id_and_labels(api: Api) -> None:
    await invite(api, email="ann@example.com", external_id="A-1", labels={"tier": "gold"})
    await invite(api, email="bob@example.com")
    page = await api.google_customers.ListCustomers(
        customer_service_pb2.ListCustomersRequest(parent=PARENT), metadata=api.as_("reader")
    )
    assert [(each.external_id, dict(each.labels)) for each in page.customers] == [
        ("", {}),
        ("A-1", {"tier": "gold"}),
    ]


async def test_needed_fields_are_named_together_with_what_is_wrong(api: Api) -> None:
    assert (await wrong(invite(api, display_name="", person={"phone": "call me"}))).keys() == {
        "customer.display_name",
        "customer.email",
        "customer.person.phone",
    }
    assert (await wrong(create(api, display_name=""))).keys() == {"customer.display_name"}
    assert (await wrong(create(api, email="a@example.com"))).keys() == {"customer.email"}
    assert await types(api) == []


@pytest.mark.parametrize(
    "labels",
    [
        {f"k{number}": "v" for number in range(65)},
        {"": "v"},
        {"k" * 64: "v"},
        {"Tier": "v"},
        {"1st": "v"},
        {"a.b": "v"},
        {"tier": "v" * 64},
        {"tier": "Gold"},
        {"tier": "a b"},
        {"tier": "语" * 43},
    ],
)
async def test_labels_beyond_their_limits_are_refused(api: Api, labels: dict[str, str]) -> None:
    assert (await wrong(create(api, labels=labels))).keys() == {"customer.labels"}
    asked = invite(api, email="a@example.com", labels=labels)
    assert (await wrong(asked)).keys() == {"customer.labels"}
    assert await types(api) == []


async def test_an_external_id_is_one_customers(api: Api) -> None:
    first = await create(api, external_id="A-1")
    other = await create(api)
    for call in (
        create(api, external_id="A-1"),
        create(api, external_id="A-1", validate_only=True),
        invite(api, email="a@example.com", external_id="A-1"),
        update(api, name=other.name, external_id="A-1"),
    ):
        code, reason, status = await refusal(call)
        assert (code, reason) == (EXISTS, "EXTERNAL_ID_TAKEN")
        info = detail(status, error_details_pb2.ErrorInfo)
        assert info.metadata["customer"] == first.name
        assert first.name in status.message
    # Another reseller's customers have their own.
    await api.google_customers.CreateCustomer(
        customer_service_pb2.CreateCustomerRequest(
            parent="resellers/reseller-2", customer=customer(external_id="A-1")
        ),
        metadata=api.as_("foreigner"),
    )
    await update(api, "external_id", name=first.name)
    assert (await update(api, name=other.name, external_id="A-1")).external_id == "A-1"


@pytest.mark.parametrize(
    ("mask", "sent", "after"),
    [
        ((), {"display_name": "Lutik"}, {"display_name": "Lutik"}),
        ((), {"person": {"tin": "1"}}, {"person": PERSON | {"tin": "1"}}),
        (("displayName",), {"display_name": "Lutik", "external_id": "no"}, {"display_name": "Lutik"}),
        (("person",), {"person": {"tin": "1"}}, {"person": {"tin": "1"}}),
        (("person.name", "person.postCode"), {"person": {"post_code": "2"}}, {"person": {"tin": PERSON["tin"], "post_code": "2"}}),
        (("labels",), {"labels": {"a": "b"}}, {"labels": {"a": "b"}}),
        (("labels.tier", "labels.`new`"), {"labels": {"new": "1", "no": "2"}}, {"labels": {"x": "y", "new": "1"}}),
        (("external_id",), {}, {"external_id": ""}),
        (("*",), {"display_name": "Lutik"}, {"display_name": "Lutik", "person": {}, "external_id": "", "labels": {}}),
    ],
)  # fmt: skip
async def test_a_mask_says_what_is_set(
    api: Api, mask: tuple[str, ...], sent: dict[str, Any], after: dict[str, Any]
) -> None:
    made = await create(api, external_id="A-1", labels={"tier": "gold", "x": "y"})
    changed = await update(api, *mask, name=made.name, **sent)
    wanted = {"external_id": "A-1", "labels": {"tier": "gold", "x": "y"}} | after
    expected = customer(**wanted)
    for field in ("display_name", "person", "external_id", "labels"):
        assert getattr(changed, field) == getattr(expected, field), field
    assert changed == await get(api, made.name)
    assert changed.etag != made.etag
    assert await types(api) == ["customer.created", "customer.updated"]


@pytest.mark.parametrize(
    "mask",
    [
        ("nmae",),
        ("state",),
        ("createTime",),
        ("name",),
        ("person.inn",),
        ("labels.A.b",),
        ("labels.a.b",),
        ("labels.A",),
        ("labels.``",),
        ("labels.",),
        ("person.",),
        ("displayName.",),
        ("etag",),
        ("display_name", "labels.1"),
        ("*", "labels"),
        ("email",),
        ("state.x",),
    ],
)
async def test_a_wrong_mask_changes_nothing(api: Api, mask: tuple[str, ...]) -> None:
    made = await create(api)
    sent: dict[str, Any] = {"email": "new@example.com", "display_name": "Lutik"}
    if mask == ("labels.A.b",):
        sent["labels"] = {"A.b": "x"}
    found = await wrong(update(api, *mask, name=made.name, **sent))
    assert set(found) <= {"update_mask", "customer.email", "customer.labels"}
    assert await get(api, made.name) == made
    assert await types(api) == ["customer.created"]


async def test_an_etag_that_is_stale_or_anothers_is_aborted(api: Api) -> None:
    made, other = await create(api), await create(api)
    await update(api, name=made.name, display_name="Lutik", etag=made.etag)
    now = await get(api, made.name)
    for etag in (made.etag, other.etag, "nonsense"):
        code, reason, status = await refusal(
            update(api, name=made.name, display_name="B", etag=etag)
        )
        assert (code, reason) == (ABORTED, "ETAG_STALE")
        assert detail(status, error_details_pb2.ErrorInfo).metadata["etag"] == now.etag
    assert await get(api, made.name) == now
    # What changes nothing is no change.
    assert await update(api, name=made.name, display_name="Lutik", etag=now.etag) == now


async def test_each_change_has_a_version_though_clocks_stand(api: Api) -> None:
    made = await create(api)
    seen = {made.etag}
    for number in range(3):
        seen.add((await update(api, name=made.name, display_name=f"N{number}")).etag)
    api.clock.advance(timedelta(seconds=-5))
    seen.add((await update(api, name=made.name, display_name="Last")).etag)
    assert len(seen) == 5


async def test_a_key_changes_once(api: Api) -> None:
    made, key = await create(api), str(uuid.uuid4())
    first = await update(api, name=made.name, display_name="B", key=key)
    last = await update(api, name=made.name, display_name="C")
    assert await update(api, name=made.name, display_name="B", key=key) == last
    assert first != last


async def test_who_only_reads_changes_nothing_and_learns_nothing(api: Api) -> None:
    made = await create(api)
    for who in ("reader", "foreigner", "nobody"):
        for name in (made.name, f"{PARENT}/customers/none"):
            code, reason, _ = await refusal(update(api, who=who, name=name, display_name="B"))
            assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    code, _, _ = await refusal(update(api, name=f"{PARENT}/customers/none", display_name="B"))
    assert code is grpc.StatusCode.NOT_FOUND
    foreign = made.name.replace("reseller-1", "reseller-2")
    code, _, _ = await refusal(update(api, who="foreigner", name=foreign, display_name="B"))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_validate_only_writes_nothing(api: Api) -> None:
    made = await create(api, external_id="A-1")
    checked = await create(api, external_id="A-2", validate_only=True)
    assert (checked.name, checked.external_id, checked.state) == ("", "A-2", made.state)
    would_be = await update(api, name=made.name, display_name="B", validate_only=True)
    assert would_be.display_name == "B"
    invited = await invite(api, email="a@example.com", validate_only=True)
    assert (invited.name, invited.done) == ("", True)
    found = customer_pb2.Customer()
    assert invited.response.Unpack(found)
    assert (found.name, found.email) == ("", "a@example.com")
    await invite(api, email="a@example.com")
    code, reason, _ = await refusal(invite(api, email="A@example.com", validate_only=True))
    assert (code, reason) == (EXISTS, "INVITATION_OPEN")
    assert await get(api, made.name) == made
    assert await types(api) == ["customer.created", "customer.invited"]


async def test_an_open_invitation_follows_the_tax_number(api: Api) -> None:
    for tin in ("1", "2"):
        await invite(api, email="a@example.com", person={"tin": tin})
    page = await api.google_customers.ListCustomers(
        customer_service_pb2.ListCustomersRequest(parent=PARENT), metadata=api.as_("reader")
    )
    second, first = page.customers
    code, reason, _ = await refusal(update(api, name=second.name, person={"tin": "1"}))
    assert (code, reason) == (EXISTS, "INVITATION_OPEN")
    await update(api, name=second.name, person={"tin": "3"})
    await invite(api, email="a@example.com", person={"tin": "2"})
    code, reason, _ = await refusal(invite(api, email="a@example.com", person={"tin": "3"}))
    assert (code, reason) == (EXISTS, "INVITATION_OPEN")
    await update(api, name=first.name, display_name="Still open")
