"""A customer's life over REST, through the real gateway."""

import base64
from typing import Any

import httpx
import pytest
from google.rpc import error_details_pb2

from tests.service import Service


def test_created_changed_deleted_and_taken_back(service: Service) -> None:
    client = httpx.Client(base_url=f"{service.rest}/v1/", headers=service.headers)
    parent = f"resellers/{service.resellerId}"
    made = client.post(
        f"{parent}/customers",
        json={"displayName": "Romashka", "externalId": "e2e-1", "labels": {"tier": "gold"}},
    ).json()
    assert (made["state"], made["labels"]) == ("ACTIVE", {"tier": "gold"})
    changed = client.patch(
        made["name"],
        params={"updateMask": "labels.tier,person.postCode"},
        json={"name": made["name"], "etag": made["etag"], "person": {"postCode": "119021"}},
    ).json()
    assert "error" not in changed, changed
    assert (changed.get("labels", {}), changed["person"]["postCode"]) == ({}, "119021")
    stale = client.delete(made["name"], params={"etag": made["etag"]})
    assert (stale.status_code, stale.json()["error"]["status"]) == (409, "ABORTED")
    wrong = client.patch(made["name"], params={"updateMask": "createTime"}, json={})
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    suspended = client.post(f"{made['name']}:suspend", json={}).json()
    assert suspended["state"] == "SUSPENDED"
    deleted = client.delete(made["name"], params={"etag": suspended["etag"]}).json()
    assert deleted["state"] == "DELETED"
    assert deleted["purgeTime"] > deleted["deleteTime"]
    assert client.get(made["name"]).json() == deleted
    shown = client.get(f"{parent}/customers", params={"showDeleted": True}).json()["customers"]
    assert deleted in shown
    back = client.post(f"{made['name']}:undelete", json={}).json()
    assert (back["state"], back["externalId"]) == ("SUSPENDED", "e2e-1")
    client.close()


@pytest.mark.parametrize(
    ("customer", "field"),
    [
        ({"displayName": 5}, "displayName"),  # which the gateway says
        ({"displayName": ""}, "displayName"),  # and all else the server
        ({"displayName": "R", "person": {"postCode": "1" * 65}}, "person.postCode"),
        ({"displayName": "R", "email": "a@example.com"}, "email"),
        ({"displayName": "R", "labels": {"A": "b"}}, "labels"),
    ],
)
def test_a_wrong_field_is_named_as_it_stands_in_the_body(
    service: Service, customer: dict[str, Any], field: str
) -> None:
    client = httpx.Client(base_url=service.rest, headers=service.headers)
    parent = f"resellers/{service.resellerId}"
    details = client.post(f"/v1/{parent}/customers", json=customer).json()["error"]["details"]
    assert [each["field"] for each in details[1]["fieldViolations"]] == [field]
    # Connect's body is the whole request.
    said = client.post(
        "/billing.v1.CustomerService/CreateCustomer",
        json={"parent": parent, "customer": customer},
    ).json()
    value = said["details"][1]["value"]
    bad = error_details_pb2.BadRequest.FromString(base64.b64decode(value + "=="))
    assert [each.field for each in bad.field_violations] == [f"customer.{field}"]
    assert f"customer.{field}: " in said["message"]
    client.close()


EMAIL = {"displayName": "R", "email": "a@example.com"}


@pytest.mark.parametrize(
    ("verb", "path", "body", "fields"),
    [
        (
            *("POST", "customers:invite"),
            {
                "customer": EMAIL | {"labels": {"A": ""}},
                "languageCode": "xx",
                "timeToLive": "1s",
                "returnUri": "http://a",
                "reminderDays": [99],
            },
            ["languageCode", "timeToLive", "returnUri", "reminderDays", "customer.labels"],
        ),
        (
            *("POST", "customers", EMAIL | {"externalId": "x" * 129, "labels": {"A": ""}}),
            ["externalId", "email", "labels"],
        ),
        (
            *("PATCH", "customers/bcu?updateMask=*"),
            {"person": {"phone": "x"}, "labels": {"A": ""}},
            ["person.phone", "displayName", "labels"],
        ),
        (
            *("POST", "webhooks", {"description": "x" * 1025, "url": "ftp://a", "types": ["a"]}),
            ["description", "url", "types[0]"],
        ),
        (
            *("PATCH", "webhooks/whk", {"etag": "x", "alertEmail": "x", "url": "ftp://a"}),
            ["alertEmail", "etag", "url"],
        ),
    ],
)
def test_one_refusal_names_all_that_is_wrong(
    service: Service, verb: str, path: str, body: dict[str, Any], fields: list[str]
) -> None:
    url = f"{service.rest}/v1/resellers/{service.resellerId}/{path}"
    answer = httpx.request(verb, url, json=body, headers=service.headers)
    assert answer.status_code == 400, answer.text
    (_, bad, _) = answer.json()["error"]["details"]
    assert sorted(each["field"] for each in bad["fieldViolations"]) == sorted(fields)
