"""The seed's JSON, field by field, through the real Envoy."""

import re
import uuid
from datetime import datetime

import httpx
import pytest

from tests.service import Service, eventually

OPERATION_ID = r"[a-z]{3}[0-9a-v]{17}"


def test_invite_answers_with_the_seeds_operation(service: Service) -> None:
    body = service.invitation(
        person={
            "name": "Остап",
            "longname": "Остап Сулейман Берта Мария Бендер-бей",
            "phone": "+7 495 123-45-67",
            "email": "ostap@example.com",
            "postCode": "101000",
            "postAddress": "Москва, Мясницкая, 1",
            "legalAddress": "Черноморск, ул. Малая Арнаутская, 1",
            "tin": "7707083893",
        }
    )
    answer = httpx.post(
        f"{service.rest}/billing/v1/customers:invite", json=body, headers=service.headers
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    begun = answer.json()
    assert set(begun) >= {
        "id",
        "description",
        "createdAt",
        "createdBy",
        "modifiedAt",
        "done",
        "metadata",
    }
    assert re.fullmatch(OPERATION_ID, begun["id"])
    assert 0 < len(begun["description"]) <= 256
    for field in ("createdAt", "modifiedAt"):
        assert datetime.fromisoformat(begun[field]).tzinfo
    assert begun["done"] in (False, True)
    assert begun["metadata"] == {
        "@type": "type.googleapis.com/yandex.cloud.billing.v1.CustomerMetadata",
        "resellerId": service.resellerId,
        "customerId": begun["metadata"]["customerId"],
    }
    ended = service.finished(begun["id"])
    assert {
        field: ended[field] for field in ("id", "description", "createdAt", "createdBy", "metadata")
    } == {
        field: begun[field] for field in ("id", "description", "createdAt", "createdBy", "metadata")
    }
    assert ended["modifiedAt"] > begun["createdAt"]
    assert "error" not in ended
    assert ended["response"] == {
        "@type": "type.googleapis.com/yandex.cloud.billing.v1.Customer",
        "id": begun["metadata"]["customerId"],
        "billingAccountId": ended["response"]["billingAccountId"],
    }
    assert re.fullmatch(OPERATION_ID, ended["response"]["billingAccountId"])
    (mail,) = eventually(lambda: service.mails_to(body["invitationEmail"]))
    assert body["name"] in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_roles_are_given_and_listed(service: Service) -> None:
    account = f"{service.rest}/billing/v1/billingAccounts/{service.resellerId}"
    binding = {
        "roleId": "billing.accounts.viewer",
        "subject": {"id": f"auth0|{uuid.uuid4()}", "type": "userAccount"},
    }
    for action in ("ADD", "REMOVE"):
        answer = httpx.patch(
            f"{account}:updateAccessBindings",
            json={"accessBindingDeltas": [{"action": action, "accessBinding": binding}]},
            headers=service.headers,
        )
        ended = answer.json()
        assert (ended["done"], ended["metadata"], ended["response"]) == (
            True,
            {
                "@type": "type.googleapis.com/yandex.cloud.access.UpdateAccessBindingsMetadata",
                "resourceId": service.resellerId,
            },
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
        )
        listed = httpx.get(f"{account}:listAccessBindings", headers=service.headers).json()
        assert listed["nextPageToken"] == ""
        assert (listed["accessBindings"][0] == binding) == (action == "ADD")
    shown = httpx.get(f"{service.rest}/v1/operations/{ended['id']}", headers=service.headers)
    assert shown.json()["metadata"] == {
        "@type": "type.googleapis.com/billing.v1.UpdateAccessMetadata",
        "reseller": f"resellers/{service.resellerId}",
        "createTime": ended["createdAt"],
    }
    assert shown.json()["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}


def test_snake_case_is_accepted(service: Service) -> None:
    body = service.invitation()
    snake = {
        "reseller_id": body["resellerId"],
        "name": body["name"],
        "invitation_email": body["invitationEmail"],
        "person": {"post_code": "101000"},
    }
    answer = httpx.post(
        f"{service.rest}/billing/v1/customers:invite", json=snake, headers=service.headers
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_cancel_is_served_both_ways(service: Service, method: str) -> None:
    begun = service.finished(service.invite()["id"])
    answer = httpx.request(
        method,
        f"{service.rest}/operations/{begun['id']}:cancel",
        headers=service.headers,
        json={} if method == "POST" else None,
    )
    assert (answer.status_code, answer.json()) == (200, begun)


def test_google_style_operations_are_served_over_rest(service: Service) -> None:
    begun = httpx.post(
        f"{service.rest}/v1/resellers/{service.resellerId}/customers:invite",
        json={"customer": {"displayName": "Рога и копыта", "email": f"{uuid.uuid4()}@example.com"}},
        headers=service.headers,
    ).json()
    assert re.fullmatch(f"operations/{OPERATION_ID}", begun["name"])
    service.finished(begun["name"].removeprefix("operations/"))
    ended = httpx.get(f"{service.rest}/v1/{begun['name']}", headers=service.headers).json()
    assert ended["done"] is True
    assert ended["response"]["@type"] == "type.googleapis.com/billing.v1.Customer"
    assert ended["metadata"]["@type"] == "type.googleapis.com/billing.v1.InviteCustomerMetadata"
    assert ended["response"]["name"] == ended["metadata"]["customer"]
    listed = httpx.get(
        f"{service.rest}/v1/operations",
        params={"filter": "done = true", "pageSize": 1000},
        headers=service.headers,
    ).json()
    assert ended in listed["operations"]
    assert httpx.delete(f"{service.rest}/v1/{begun['name']}", headers=service.headers).json() == {}
    gone = httpx.get(f"{service.rest}/v1/{begun['name']}", headers=service.headers)
    assert gone.status_code == 404
    error = gone.json()["error"]
    assert (error["code"], error["status"]) == (404, "NOT_FOUND")
    assert "ErrorInfo" in [each["@type"].rpartition(".")[2] for each in error["details"]]


def test_rest_over_tls_answers_the_same(service: Service) -> None:
    import ssl

    trusted = ssl.create_default_context(cafile=service.ca)
    with httpx.Client(verify=trusted, http2=True) as client:
        answer = client.post(
            f"{service.rest_tls}/billing/v1/customers:invite",
            json=service.invitation(),
            headers=service.headers,
        )
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


def bad(service: Service, **request: object) -> httpx.Response:
    call: dict[str, object] = {
        "method": "POST",
        "url": "/billing/v1/customers:invite",
        "headers": service.headers,
        **request,
    }
    call["url"] = service.rest + str(call["url"])
    return httpx.request(**call)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"json": {}}, 400, 3),
        ({"json": {"resellerId": 5}}, 400, 3),
        ({"content": b"{", "headers_": {"content-type": "application/json"}}, 400, 3),
        ({"url": "/billing/v1/customers:invit"}, 404, 5),
        ({"url": "/operations/bop00000000000000000", "method": "GET"}, 404, 5),
        ({"headers": {}, "json": {}}, 401, 16),
        ({"headers": {"authorization": "Bearer wrong"}, "json": {}}, 401, 16),
        ({"headers": {"authorization": "Basic YTpi"}, "json": {}}, 401, 16),
    ],
)
def test_bad_input_gets_a_status(
    service: Service, request_: dict[str, object], status: int, code: int
) -> None:
    extra = request_.pop("headers_", {}) if "headers_" in request_ else {}
    if "headers" not in request_:
        request_ = {**request_, "headers": {**service.headers, **extra}}  # type: ignore[dict-item]
    answer = bad(service, **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["message"]
    assert not [name for name in answer.headers if name.startswith("grpc-")]


def test_all_wrong_fields_are_named(service: Service) -> None:
    answer = bad(service, json={"person": {"email": "x"}, "invitationEmail": "y"})
    (violations,) = [
        detail["fieldViolations"]
        for detail in answer.json()["details"]
        if detail["@type"].endswith("BadRequest")
    ]
    assert [violation["field"] for violation in violations] == [
        "resellerId",
        "name",
        "invitationEmail",
        "person.email",
    ]


def test_a_foreign_reseller_is_denied_whether_or_not_it_exists(service: Service) -> None:
    answer = bad(service, json=service.invitation(resellerId="someone-else"))
    assert (answer.status_code, answer.json()["code"]) == (403, 7)


def test_a_key_used_for_another_request_is_refused(service: Service) -> None:
    headers = {**service.headers, "idempotency-key": str(uuid.uuid4())}
    body = service.invitation()
    first = bad(service, json=body, headers=headers)
    assert first.status_code == 200
    again = bad(service, json=body, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    other = bad(service, json=service.invitation(), headers=headers)
    assert (other.status_code, other.json()["code"]) == (400, 3)
    no_uuid = bad(service, json=service.invitation(), headers={**headers, "idempotency-key": "1"})
    assert (no_uuid.status_code, no_uuid.json()["code"]) == (400, 3)


def test_a_second_open_invitation_names_the_first(service: Service) -> None:
    body = service.invitation()
    first = bad(service, json=body).json()
    second = bad(service, json={**body, "invitationEmail": body["invitationEmail"].upper()})
    assert (second.status_code, second.json()["code"]) == (409, 6)
    (info,) = [d for d in second.json()["details"] if d["@type"].endswith("ErrorInfo")]
    assert info["metadata"]["operationId"] == first["id"]
    assert info["metadata"]["customerId"] == first["metadata"]["customerId"]
