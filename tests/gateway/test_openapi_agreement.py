"""What the description calls valid, the server accepts; what it calls wrong, the server refuses."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from google.api import annotations_pb2
from google.protobuf import json_format
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test

from gateway.openapi import protos
from gateway.openapi.constraints import REFUSED_ABOVE
from server.domain.errors import BillingError
from server.rpc.pipeline.validation import validate
from tests.gateway.openapi_document import (
    DOCUMENT_TO_GENERATE_FROM,
    errors,
    new_message,
)

PUBLISHED = "yandex.cloud.billing.v1."
INVITE = {
    "resellerId": "reseller",
    "name": "Romashka",
    "invitationEmail": "a@example.com",
    "person": {},
}
CREATE = {"resellerId": "reseller", "name": "Romashka", "person": {}}


@pytest.mark.parametrize(
    ("message", "body", "accepted"),
    [
        (f"{PUBLISHED}InviteCustomerRequest", INVITE, True),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"resellerId": "\N{SNOWMAN}" * 50}, True),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"resellerId": "x" * 51}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": ""}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": " \t "}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": " \u00a0"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\0"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\n"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\u2028b"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\U000e1000"}, True),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\U000e0fff"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": "a\U000f0000"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": None}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"name": 1}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"nmae": "x"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"invitationEmail": "nobody"}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"person": None}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"person": {"tin": None}}, True),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"person": {"tin": "\x1b"}}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"person": {"inn": "1"}}, False),
        (f"{PUBLISHED}InviteCustomerRequest", INVITE | {"person": {"phone": "call me"}}, False),
        (
            f"{PUBLISHED}InviteCustomerRequest",
            INVITE | {"person": {"phone": "+7 (495) 123-45-67 доб. 5"}},
            True,
        ),
        ("billing.v1.Customer", {"email": "a@example.com", "person": {}}, True),
        ("billing.v1.Customer", {"email": "nobody"}, False),
        ("billing.v1.Customer", {"person": {"phone": "call me"}}, False),
        (f"{PUBLISHED}CreateResellerServedCustomerRequest", CREATE, True),
        (f"{PUBLISHED}CreateResellerServedCustomerRequest", CREATE | {"resellerId": "A"}, False),
        ("billing.v1.Webhook", {"url": "https://example.com/", "state": "DISABLED"}, True),
        ("billing.v1.Webhook", {"types": ["customer.created"] * 101}, False),
        ("billing.v1.Webhook", {"alertEmail": "nobody"}, False),
        ("billing.v1.Webhook", {"alertEmail": ""}, True),
        ("billing.v1.AcceptInvitationRequest", {"token": "\0" * 100_000 + "x"}, True),
        ("billing.v1.AcceptInvitationRequest", {"token": " \x1f"}, False),
        ("billing.v1.DeclineInvitationRequest", {}, False),
        ("yandex.cloud.iam.v1.CreateIamTokenRequest", {"jwt": "x" * 8000}, True),
        ("yandex.cloud.iam.v1.CreateIamTokenRequest", {"jwt": "x" * 8001}, False),
        (
            "yandex.cloud.iam.v1.CreateIamTokenRequest",
            {"jwt": "x", "yandexPassportOauthToken": "x"},
            False,
        ),
    ],
)
def test_the_schemas_refuse_what_the_server_refuses(
    message: str, body: dict[str, Any], accepted: bool
) -> None:
    by_schema = not errors({"$ref": f"#/components/schemas/{message}"}, body)
    assert (by_schema, _is_accepted(message, body)) == (accepted, accepted)


# The formats are ours; the schema can say only what such texts look like.
schemathesis.openapi.format(
    "email-or-empty",
    st.from_regex(r"([a-z]{1,9}\.[a-z]{1,9}@[a-z]{1,9}\.example)?", fullmatch=True),
)
schemathesis.openapi.format(
    "phone", st.from_regex(r"\+7 ?(495|812|916) ?[0-9]{3}-?[0-9]{2}-?[0-9]{2}", fullmatch=True)
)
GENERATED = schemathesis.openapi.from_dict(DOCUMENT_TO_GENERATE_FROM)
GENERATED.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])
# May stand where their scripts need them alone, which a schema can't say.
NEEDED_SOMEWHERE = re.compile("[\u180e\u200b-\u200d\U000e0020-\U000e007f]")
EXCLUDED = re.compile(REFUSED_ABOVE)


# What `GENERATED.parametrize()` does, but that it would make the inputs of all operations whenever
# tests are collected, and give all the same ID.
@pytest.mark.timeout(300)  # the largest takes ten seconds, and more where others share the machine
@pytest.mark.parametrize(
    "operation",
    list(GENERATED.get_all_operations()),
    ids=lambda operation: operation.ok().label,
)
def test_what_is_generated_from_the_schemas_is_accepted(operation: Any) -> None:
    build_operation_test(
        config=GENERATED.config,
        operation=operation.ok(),
        test_func=_check_generated,
        given_kwargs={},
        feedback=FeedbackSources(),
    )()


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def _check_generated(case: schemathesis.Case[Any]) -> None:
    # Path and query come as a URL holds them.
    asked: dict[str, Any] = {
        name: unquote(value) for name, value in (case.path_parameters or {}).items()
    }
    for name, value in (case.query or {}).items():
        asked[name] = {"true": True, "false": False}.get(value, value)
    operation_id = case.operation.definition.raw["operationId"]
    method = next(
        method
        for method in protos.load().methods
        if f"{method.containing_service.name}.{method.name}" == operation_id.removesuffix("2")
    )
    # The one that is a field of the request; else the body fills all of it.
    resource = method.GetOptions().Extensions[annotations_pb2.http].body.strip("*")
    if resource and method.input_type.fields_by_name[resource].message_type.name == "HttpBody":
        return  # which no schema describes
    if isinstance(case.body, dict):
        asked |= {resource: dict(case.body)} if resource else case.body
    # Python reads masks in camelCase alone, the gateway in either way.
    assume("_" not in asked.get("updateMask", ""))
    text = json.dumps(asked, ensure_ascii=False)
    assume(not NEEDED_SOMEWHERE.search(text) and not EXCLUDED.search(text))
    if "operationsId" in asked:
        asked["name"] = f"operations/{asked.pop('operationsId')}"
    if "resellersId" in asked:
        parent = f"resellers/{asked.pop('resellersId')}"
        children = [
            name
            for name in ("customersId", "invitationsId", "eventsId", "webhooksId", "suppressionsId")
            if name in asked
        ]
        for name in children:
            parent += f"/{name.removesuffix('Id')}/{asked.pop(name)}"
        if method.name.startswith("Update"):
            asked[resource]["name"] = parent
        else:
            asked["name" if "name" in method.input_type.fields_by_name else "parent"] = parent
    validate(json_format.ParseDict(asked, new_message(method.input_type.full_name)))


def _is_accepted(message: str, body: dict[str, Any]) -> bool:
    try:
        validate(json_format.ParseDict(body, new_message(message)))
    except (json_format.ParseError, BillingError):
        return False
    return True
