"""The committed description: valid, complete, and true to what the server checks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import openapi
from tests.gateway.openapi_document import DOCUMENT, errors, new_message, parameters, resolve

OPERATIONS = {
    operation["operationId"]: (verb, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for verb, operation in item.items()
}
INVITATIONS = "/v1/resellers/{resellersId}/invitations"
WEBHOOKS = "/v1/resellers/{resellersId}/webhooks"
WEBHOOK = f"{WEBHOOKS}/{{webhooksId}}"
BY_LINK = {"InvitationService.AcceptInvitation", "InvitationService.DeclineInvitation"}
# By the contract.
HTTP_STATUSES = {3: {400, 413, 415, 431}, 4: {408, 504}, 5: {404}, 6: {409}, 7: {403}, 8: {429}}
HTTP_STATUSES |= {13: {500}, 14: {503}, 16: {401}}


def test_the_committed_document_is_what_the_protos_give() -> None:
    assert openapi.document() == DOCUMENT


def test_the_document_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_it_has_every_path_of_the_contract() -> None:
    assert {id_: f"{verb} {path}" for id_, (verb, path, _) in OPERATIONS.items()} == {
        "BillingAccountService.Get": "get /billing/v1/billingAccounts/{id}",
        "BillingAccountService.List": "get /billing/v1/billingAccounts",
        "BillingAccountService.ListAccessBindings": (
            "get /billing/v1/billingAccounts/{resourceId}:listAccessBindings"
        ),
        "BillingAccountService.UpdateAccessBindings": (
            "patch /billing/v1/billingAccounts/{resourceId}:updateAccessBindings"
        ),
        "CustomerService.List": "get /billing/v1/customers",
        "CustomerService.Invite": "post /billing/v1/customers:invite",
        "CustomerService.CreateResellerServed": (
            "post /billing/v1/customers:createResellerServedCustomer"
        ),
        "CustomerService.Activate": "post /billing/v1/customers/{customerId}:activate",
        "CustomerService.Suspend": "post /billing/v1/customers/{customerId}:suspend",
        "CustomerService.InviteCustomer": "post /v1/resellers/{resellersId}/customers:invite",
        "CustomerService.GetCustomer": "get /v1/resellers/{resellersId}/customers/{customersId}",
        "CustomerService.CreateCustomer": "post /v1/resellers/{resellersId}/customers",
        "CustomerService.UpdateCustomer": (
            "patch /v1/resellers/{resellersId}/customers/{customersId}"
        ),
        "CustomerService.DeleteCustomer": (
            "delete /v1/resellers/{resellersId}/customers/{customersId}"
        ),
        **{
            f"CustomerService.{verb.title()}Customer": (
                f"post /v1/resellers/{{resellersId}}/customers/{{customersId}}:{verb}"
            )
            for verb in ("undelete", "suspend", "activate")
        },
        "CustomerService.ListCustomers": "get /v1/resellers/{resellersId}/customers",
        **{
            f"InvitationService.{method}Invitation{more}": path
            for method, more, path in (
                ("Get", "", f"get {INVITATIONS}/{{invitationsId}}"),
                ("Update", "", f"patch {INVITATIONS}/{{invitationsId}}"),
                ("List", "s", f"get {INVITATIONS}"),
                ("Resend", "", f"post {INVITATIONS}/{{invitationsId}}:resend"),
                ("Update", "", f"patch {INVITATIONS}/{{invitationsId}}"),
                ("Create", "Link", f"post {INVITATIONS}/{{invitationsId}}:createLink"),
                ("Revoke", "", f"post {INVITATIONS}/{{invitationsId}}:revoke"),
                ("Accept", "", "post /v1/invitations:accept"),
                ("Decline", "", "post /v1/invitations:decline"),
            )
        },
        "SuppressionService.ListSuppressions": "get /v1/resellers/{resellersId}/suppressions",
        "SuppressionService.DeleteSuppression": (
            "delete /v1/resellers/{resellersId}/suppressions/{suppressionsId}"
        ),
        "BounceService.ReportBounce": "post /v1/bounces",
        "WebhookService.CreateWebhook": f"post {WEBHOOKS}",
        "WebhookService.GetWebhook": f"get {WEBHOOK}",
        "WebhookService.ListWebhooks": f"get {WEBHOOKS}",
        "WebhookService.UpdateWebhook": f"patch {WEBHOOK}",
        "WebhookService.DeleteWebhook": f"delete {WEBHOOK}",
        "WebhookService.RotateWebhookSecret": f"post {WEBHOOK}:rotateSecret",
        "WebhookService.TestWebhook": f"post {WEBHOOK}:test",
        "WebhookService.RedeliverEvents": f"post {WEBHOOK}:redeliver",
        "WebhookService.ListWebhookAttempts": f"get {WEBHOOK}/attempts",
        "OperationService.Get": "get /operations/{operationId}",
        "OperationService.Cancel": "get /operations/{operationId}:cancel",
        "OperationService.Cancel2": "post /operations/{operationId}:cancel",
        "EventService.GetEvent": "get /v1/resellers/{resellersId}/events/{eventsId}",
        "EventService.ListEvents": "get /v1/resellers/{resellersId}/events",
        "EventStreamService.WatchEvents": "get /v1/resellers/{resellersId}/events:watch",
        "Operations.ListOperations": "get /v1/operations",
        "Operations.GetOperation": "get /v1/operations/{operationsId}",
        "Operations.DeleteOperation": "delete /v1/operations/{operationsId}",
        "Operations.CancelOperation": "post /v1/operations/{operationsId}:cancel",
        "ApiEndpointService.List": "get /endpoints",
        "ApiEndpointService.Get": "get /endpoints/{apiEndpointId}",
        "IamTokenService.Create": "post /iam/v1/tokens",
        "IamTokenService.Revoke": "post /iam/v1/tokens:revoke",
    }


def test_the_query_holds_what_neither_path_nor_body_does() -> None:
    queries = {
        id_: [each["name"] for each in parameters(operation) if each["in"] == "query"]
        for id_, (_, _, operation) in OPERATIONS.items()
    }
    assert {id_: names for id_, names in queries.items() if names} == {
        "BillingAccountService.List": ["pageSize", "pageToken"],
        "BillingAccountService.ListAccessBindings": ["pageSize", "pageToken"],
        "CustomerService.List": ["resellerId", "pageSize", "pageToken"],
        "CustomerService.CreateCustomer": ["validateOnly"],
        "CustomerService.DeleteCustomer": ["etag", "validateOnly", "allowMissing"],
        "CustomerService.ListCustomers": [
            *("pageSize", "pageToken", "showDeleted", "filter", "orderBy")
        ],
        "CustomerService.UpdateCustomer": ["updateMask", "validateOnly"],
        "EventService.ListEvents": ["after", "filter", "pageSize", "pageToken"],
        "EventStreamService.WatchEvents": ["after", "filter"],
        "InvitationService.ListInvitations": ["pageSize", "pageToken", "filter", "orderBy"],
        "InvitationService.UpdateInvitation": ["updateMask"],
        "SuppressionService.ListSuppressions": ["pageSize", "pageToken"],
        "WebhookService.CreateWebhook": ["validateOnly"],
        "WebhookService.ListWebhooks": ["pageSize", "pageToken"],
        "WebhookService.UpdateWebhook": ["updateMask", "validateOnly"],
        "WebhookService.DeleteWebhook": ["etag"],
        "WebhookService.ListWebhookAttempts": ["pageSize", "pageToken"],
        "Operations.ListOperations": ["filter", "pageSize", "pageToken", "returnPartialSuccess"],
        "ApiEndpointService.List": ["pageSize", "pageToken"],
    }
    page_size = DOCUMENT["paths"]["/billing/v1/customers"]["get"]["parameters"][1]
    assert page_size["schema"] == {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "maximum": 1000,
    }


def test_only_discovery_and_what_asks_for_another_proof_are_open() -> None:
    open_to_all = {id_ for id_, (_, _, each) in OPERATIONS.items() if each.get("security") == []}
    assert DOCUMENT["security"] == [{"bearer": []}]
    assert open_to_all == {
        "ApiEndpointService.List",
        "ApiEndpointService.Get",
        "BounceService.ReportBounce",
        "IamTokenService.Create",
        *BY_LINK,
    }


@pytest.mark.parametrize("operation_id", sorted(OPERATIONS))
def test_what_changes_something_takes_an_idempotency_key(operation_id: str) -> None:
    _, _, operation = OPERATIONS[operation_id]
    names = {each["name"] for each in parameters(operation)}
    is_read = operation_id.partition(".")[2].startswith(("Get", "List", "Watch"))
    assert ("Idempotency-Key" in names) is not is_read


@pytest.mark.parametrize("operation_id", sorted(OPERATIONS))
def test_every_answer_is_described(operation_id: str) -> None:
    verb, path, operation = OPERATIONS[operation_id]
    expected = {"200", "400", "408", "429", "431", "500", "503", "504"}
    if "security" not in operation:
        expected |= {"401", "403"}
    if operation_id in ("BounceService.ReportBounce", "IamTokenService.Create"):
        expected |= {"401"}
    if operation_id == "BounceService.ReportBounce":
        expected |= {"401", "404"}  # nobody has signed it; nobody takes it
    if "{" in path or operation_id in BY_LINK:
        expected |= {"404"}
    if verb in ("post", "patch"):
        expected |= {"409", "413", "415"}
    if verb == "delete" or operation_id == "OperationService.Cancel":
        expected |= {"409"}
    assert set(operation["responses"]) == expected
    assert operation["summary"]
    for status, response in operation["responses"].items():
        response = resolve(response)
        assert "x-request-id" in response["headers"]
        assert ("retry-after" in response["headers"]) is (status in ("429", "503"))
        if status != "200":
            (content, *_) = response["content"].values()
            example, schema = content["example"], "google.rpc.Status"
            if path.startswith("/v1/"):
                example, schema = example["error"], "ErrorResponse"
                assert example["code"] == int(status)
                example = {"code": code_pb2.Code.Value(example["status"])}
            assert content["schema"] == {"$ref": f"#/components/schemas/{schema}"}
            assert int(status) in HTTP_STATUSES[example["code"]]


def test_streams_tell_how_they_are_opened_again_and_how_they_end() -> None:
    _, _, watch = OPERATIONS["EventStreamService.WatchEvents"]
    assert [each["name"] for each in parameters(watch) if each["in"] == "header"] == [
        "Last-Event-ID"
    ]
    error = {"$ref": "#/components/schemas/ErrorResponse"}
    message = {"$ref": "#/components/schemas/billing.v1.WatchEventsResponse"}
    lines, events = watch["responses"]["200"]["content"].values()
    assert lines == events
    assert events["schema"] == {"anyOf": [message, error]}
    ends = events["examples"]["Theend"]["value"]["error"]
    assert ends["details"][0]["reason"] == "SERVER_STOPPING"


def _examples() -> Iterator[Any]:
    for id_, (_, _, operation) in OPERATIONS.items():
        for parameter in parameters(operation):
            if "example" in parameter:
                yield pytest.param(parameter["schema"], parameter["example"], id=id_)
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            yield pytest.param(content["schema"], content["example"], id=f"{id_} request")
        for status, response in operation["responses"].items():
            (content, *_) = resolve(response)["content"].values()
            found = content.get("examples", {"": {"value": content.get("example")}})
            assert found, f"{id_} has no example of an answer"
            for name, example in found.items():
                yield pytest.param(content["schema"], example["value"], id=f"{id_} {status} {name}")


@pytest.mark.parametrize(("schema", "example"), list(_examples()))
def test_examples_are_what_the_schemas_and_the_protos_say(schema: Any, example: Any) -> None:
    assert errors(schema, example) == []
    name = schema.get("$ref", "").rpartition("/")[2]
    if name == "ErrorResponse":
        error = example["error"]
        example, name = {key: error[key] for key in ("message", "details")}, "google.rpc.Status"
    if name:
        json_format.ParseDict(example, new_message(name))


def test_the_details_of_errors_are_typed() -> None:
    detail = error_details_pb2.BadRequest.DESCRIPTOR.full_name
    wrong = {"@type": f"type.googleapis.com/{detail}", "fieldViolations": "person.email"}
    status = {"code": 3, "message": "", "details": [wrong]}
    assert errors({"$ref": "#/components/schemas/google.rpc.Status"}, status)


def test_operations_of_both_apis_are_described() -> None:
    described = str(DOCUMENT["components"]["schemas"]["google.longrunning.Operation"])
    for name in ("InviteCustomerMetadata", "CustomerMetadata", "UpdateAccessMetadata"):
        assert f"billing.v1.{name}" in described
    # As `ListOperations` shows a change of roles.
    operation = {
        "name": "operations/bop1d7h3l9p5t0a6e2i8",
        "metadata": {
            "@type": "type.googleapis.com/billing.v1.UpdateAccessMetadata",
            "reseller": "resellers/bac5m1n0d8q2r7t4v6h3",
            "createTime": "2026-03-01T09:30:00Z",
        },
        "done": True,
        "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    }
    schema = {"$ref": "#/components/schemas/google.longrunning.Operation"}
    assert errors(schema, operation) == []


@pytest.mark.parametrize("written", ["error:*", "NOT done AND metadata.customer:*"])
def test_every_filter_of_operations_is_allowed(written: str) -> None:
    _, _, operation = OPERATIONS["Operations.ListOperations"]
    schema = next(each["schema"] for each in parameters(operation) if each["name"] == "filter")
    assert errors(schema, written) == []


def test_texts_name_fields_as_in_json() -> None:
    code = re.findall("`[^`]+`", openapi.DOCUMENT.read_text(encoding="utf-8"))
    in_proto = [text for text in code if re.search(r"[a-z]_[a-z]", text)]
    # Of Python, and one that stands for the style.
    assert set(in_proto) <= {
        *("`billing.v1.customer_pb2`", "`invitation_pb2`", "`webhook_pb2`", "`type_url`"),
        "`snake_case`",
    }
