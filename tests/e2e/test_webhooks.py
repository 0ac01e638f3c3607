"""billing.v1.WebhookService by REST, through the real Envoy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.service import Service

URL = "https://example.com/hook"


@dataclass
class Rest:
    """A webhook that nothing is sent to, and a client."""

    client: httpx.Client
    collection: str
    made: dict[str, Any]
    path: str

    def patch(self, query: str = "", **body: Any) -> httpx.Response:
        return self.client.patch(f"{self.path}{query}", json=body)

    def post(self, verb: str, **body: Any) -> httpx.Response:
        return self.client.post(f"{self.path}:{verb}", json=body)


@pytest.fixture
def rest(service: Service) -> Iterator[Rest]:
    collection = f"{service.rest}/v1/resellers/{service.resellerId}/webhooks"
    with httpx.Client(headers=service.headers) as client:
        answer = client.post(collection, json={"url": URL, "state": "DISABLED"})
        assert answer.status_code == 200, answer.text
        # What holds a secret is kept by no cache.
        assert answer.headers["cache-control"] == "no-store"
        made = answer.json()
        path = f"{service.rest}/v1/{made['name']}"
        yield Rest(client, collection, made, path)
        client.delete(path)


def refused(answer: httpx.Response, status: int) -> tuple[str, dict[str, str]]:
    """Returns the reason and the wrong fields of a refusal."""
    assert answer.status_code == status, answer.text
    details = answer.json()["error"]["details"]
    bad: dict[str, Any] = next(
        (each for each in details if each["@type"].endswith("BadRequest")), {}
    )
    violations = bad.get("fieldViolations", [])
    return details[0]["reason"], {each["field"]: each["description"] for each in violations}


def test_a_webhook_has_the_fields_that_are_agreed_on(rest: Rest) -> None:
    assert set(rest.made) == {
        *("name", "url", "types", "description", "contentType", "alertEmail", "state"),
        *("disableReason", "secret", "createTime", "updateTime", "backlog", "etag"),
    }
    found = rest.client.get(rest.path).json()
    assert found == {key: value for key, value in rest.made.items() if key != "secret"}
    assert found in rest.client.get(rest.collection).json()["webhooks"]
    assert rest.client.get(f"{rest.path}/attempts").json() == {"attempts": [], "nextPageToken": ""}


@pytest.mark.parametrize("mask", ["contentType", "content_type", "contentType,types"])
def test_masks_are_written_in_either_way(rest: Rest, mask: str) -> None:
    answer = rest.patch(f"?updateMask={mask}", contentType="application/json", description="no")
    assert (answer.json()["contentType"], answer.json()["description"]) == ("application/json", "")


def test_what_was_read_can_be_sent_back(rest: Rest) -> None:
    found = rest.client.get(rest.path).json()
    assert rest.patch(**found).json() == found
    changed = rest.patch("?updateMask=*", **{**found, "description": "Our books"}).json()
    assert changed == {
        **found,
        "description": "Our books",
        "etag": changed["etag"],
        "updateTime": changed["updateTime"],
        "backlog": 1,  # the event of this change
    }


def test_a_stale_etag_is_a_conflict(rest: Rest) -> None:
    assert rest.patch(description="first", etag=rest.made["etag"]).status_code == 200
    stale = rest.patch(description="second", etag=rest.made["etag"])
    assert refused(stale, 409) == ("ETAG_STALE", {})
    stale = rest.client.delete(rest.path, params={"etag": rest.made["etag"]})
    assert refused(stale, 409) == ("ETAG_STALE", {})


def test_what_is_wrong_is_named_as_in_json(rest: Rest) -> None:
    wrong = refused(rest.patch("?updateMask=contentType,nope", contentType="text/html"), 400)
    assert set(wrong[1]) == {"updateMask", "contentType"}
    wrong = refused(rest.patch(contentType="text/html", types=["no.such"]), 400)
    assert set(wrong[1]) == {"contentType", "types[0]"}
    wrong = refused(rest.patch(descripton="typo"), 400)
    assert wrong[1] == {"descripton": "There is no such field; did you mean description?"}
    wrong = refused(rest.patch(name="resellers/another/webhooks/whk"), 400)
    assert wrong[1] == {"name": "It must be what the path says, or be left out."}
    wrong = refused(rest.post("redeliver", after="", event="evt"), 400)
    assert set(wrong[1]) == {"event"}
    wrong = refused(rest.client.post(rest.collection), 400)
    assert wrong[1] == {"url": "Required."}


def test_only_checked_nothing_changes(rest: Rest) -> None:
    checked = rest.patch("?validateOnly=true&updateMask=state", state="ENABLED")
    assert checked.json()["state"] == "ENABLED"
    assert rest.client.get(rest.path).json()["state"] == "DISABLED"
    new = rest.client.post(f"{rest.collection}?validateOnly=true", json={"url": URL})
    assert (new.status_code, "secret" in new.json()) == (200, False)


@pytest.mark.parametrize(
    ("body", "status"), [({}, 200), ({"overlap": "0s"}, 200), ({"overlap": "8e5s"}, 400)]
)
def test_secrets_are_rotated(rest: Rest, body: dict[str, str], status: int) -> None:
    answer = rest.post("rotateSecret", **body)
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store"
    if status == 200:
        assert answer.json()["secret"] not in ("", rest.made["secret"])


def test_a_disabled_webhook_is_sent_nothing(rest: Rest) -> None:
    for answer in (rest.post("test"), rest.post("redeliver", after="")):
        assert refused(answer, 400)[0] == "WEBHOOK_STATE"
