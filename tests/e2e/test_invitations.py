"""The life of invitations by REST, through the real Envoy, with real e-mails."""

import re
import secrets
import smtplib
import sqlite3
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bounces.samples import SAMPLES
from tests.gateway.status import bare_status
from tests.service import Service, eventually, running

JSON = dict[str, Any]
BAD_TOKENS = {
    "unknown": secrets.token_urlsafe(24),
    "cut short": "a" * 31,
    "too long": "a" * 4000,
    "of wrong characters": "a" * 31 + "/",
    "of another script": "я" * 32,
    "with NUL": "a\0" * 16,
    "as long as the gateway takes without credentials": "a" * 15_000,
}


@dataclass
class Sent:
    """An invitation that has gone out."""

    service: Service
    email: str
    customer_id: str
    operation_id: str

    @property
    def mails(self) -> list[EmailMessage]:
        return self.service.mails_to(self.email)

    @property
    def token(self) -> str:
        """The token in the latest e-mail's link."""
        return token_in(self.mails[-1])

    def read(self) -> JSON:
        """Returns the one invitation of this address."""
        answer = listed(self.service, f'email = "{self.email}"')
        (found,) = answer["invitations"]
        assert isinstance(found, dict)
        return found

    def customer(self) -> JSON:
        return get(self.service, f"{parent(self.service)}/customers/{self.customer_id}")


def parent(service: Service) -> str:
    return f"resellers/{service.resellerId}"


def token_in(mail: EmailMessage) -> str:
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    (token,) = set(re.findall(r"/invitations/([^\s?]+)", text))
    return str(token)


def sent(service: Service) -> Sent:
    body = service.invitation()
    operation = service.finished(service.invite(**body)["id"])
    return Sent(service, body["invitationEmail"], operation["response"]["id"], operation["id"])


def get(service: Service, name: str, **query: Any) -> JSON:
    answer = httpx.get(f"{service.rest}/v1/{name}", params=query, headers=service.headers)
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    return found


def listed(service: Service, filter_: str = "", **query: Any) -> JSON:
    return get(service, f"{parent(service)}/invitations", filter=filter_, **query)


def act(service: Service, name: str, verb: str) -> httpx.Response:
    return httpx.post(f"{service.rest}/v1/{name}:{verb}", json={}, headers=service.headers)


def answer(service: Service, verb: str, token: str) -> httpx.Response:
    """Answers by the link's token, without credentials."""
    return httpx.post(f"{service.rest}/v1/invitations:{verb}", json={"token": token}, timeout=30)


def error(response: httpx.Response, status: int, code: int) -> JSON:
    """Returns the error, which must be in the contract's form, by the types of its details."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = bare_status(response)
    assert body["code"] == code
    return {each["@type"].rpartition(".")[2]: each for each in body["details"]}


def test_from_invitation_to_active_customer(service: Service) -> None:
    made = sent(service)
    found = made.read()
    assert found == {
        "name": found["name"],
        "reseller": parent(service),
        "customer": f"{parent(service)}/customers/{made.customer_id}",
        "email": made.email,
        "state": "PENDING",
        "createTime": found["createTime"],
        "expireTime": found["expireTime"],
        "delivery": {
            "state": "SENT",
            "attempts": 1,
            "sentTime": found["delivery"]["sentTime"],
        },
        "customerState": "ACCEPTANCE_REQUIRED",
        "deliveryMethod": "EMAIL",
        **dict.fromkeys(("inviterDisplayName", "languageCode", "note", "returnUri"), ""),
        "reminderDays": [],
    }
    assert re.fullmatch(rf"{parent(service)}/invitations/inv[0-9a-v]{{17}}", found["name"])
    assert made.customer()["state"] == "ACCEPTANCE_REQUIRED"
    accepted = answer(service, "accept", made.token)
    assert accepted.status_code == 200
    assert accepted.json() == get(service, found["name"])
    assert accepted.json() == found | {
        "state": "ACCEPTED",
        "endTime": accepted.json()["endTime"],
        "customerState": "ACTIVE",
    }
    customer = made.customer()
    assert (customer["state"], customer["email"]) == ("ACTIVE", made.email)
    assert customer["displayName"] == "Рога и копыта"
    assert customer["updateTime"] > customer["createTime"]
    assert answer(service, "accept", made.token).json() == accepted.json()
    for refused in (
        answer(service, "decline", made.token),
        act(service, found["name"], "revoke"),
        act(service, found["name"], "resend"),
    ):
        info = error(refused, 400, 9)["ErrorInfo"]
        assert (info["reason"], info["metadata"]) == ("INVITATION_STATE", {"state": "ACCEPTED"})


def test_declined_and_revoked_invitations_are_not_pending(service: Service) -> None:
    declined, revoked = sent(service), sent(service)
    assert answer(service, "decline", declined.token).json()["state"] == "DECLINED"
    assert act(service, revoked.read()["name"], "revoke").json()["state"] == "REVOKED"
    for made in (declined, revoked):
        assert made.customer()["state"] == "INACTIVE"
        error(answer(service, "accept", made.token), 400, 9)
    pending = [sent(service), sent(service)]
    newest = listed(service, "state = PENDING", pageSize=1)
    next_one = listed(service, "state = PENDING", pageSize=1, pageToken=newest["nextPageToken"])
    found = [each["email"] for page in (newest, next_one) for each in page["invitations"]]
    assert found == [pending[1].email, pending[0].email]


def test_a_resent_one_is_a_new_message_in_the_same_thread(service: Service) -> None:
    made = sent(service)
    (first,) = made.mails
    old = made.token
    name = made.read()["name"]
    begun = act(service, name, "resend")
    assert begun.status_code == 200
    assert answer(service, "accept", old).status_code == 404
    operation = service.finished(begun.json()["name"].removeprefix("operations/"))
    assert operation["description"] == "Resend invitation"
    assert operation["response"]["id"] == made.customer_id
    resent = get(service, begun.json()["name"])
    assert resent["response"]["@type"] == "type.googleapis.com/billing.v1.Invitation"
    assert resent["response"]["name"] == resent["metadata"]["invitation"] == name
    first, again = eventually(lambda: made.mails if len(made.mails) == 2 else None)
    assert again["Message-ID"] != first["Message-ID"]
    assert again["In-Reply-To"] == again["References"] == first["Message-ID"]
    assert again["Subject"] == first["Subject"]
    assert token_in(again) != old
    assert made.read()["resendTime"] > made.read()["createTime"]
    too_soon = act(service, name, "resend")
    details = error(too_soon, 429, 8)
    assert details["ErrorInfo"]["reason"] == "RESENT_TOO_SOON"
    delay_s = float(details["RetryInfo"]["retryDelay"].removesuffix("s"))
    assert 50 < delay_s <= 60
    assert int(too_soon.headers["retry-after"]) == pytest.approx(delay_s, abs=1)
    assert answer(service, "accept", old).status_code == 404
    assert answer(service, "accept", token_in(again)).json()["state"] == "ACCEPTED"


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_links_that_lead_nowhere(service: Service, kind: str) -> None:
    refused = answer(service, "accept", BAD_TOKENS[kind])
    assert error(refused, 404, 5)["ErrorInfo"]["reason"] == "NOT_FOUND"
    assert BAD_TOKENS[kind] not in refused.text


def test_a_megabyte_is_too_large(service: Service) -> None:
    error(answer(service, "decline", "a" * (1 << 20)), 413, 3)


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": None}, {"token": 1}, {"tokens": "a"}, []]
)
def test_an_answer_without_a_token_is_refused(service: Service, body: Any) -> None:
    refused = httpx.post(f"{service.rest}/v1/invitations:accept", json=body)
    assert error(refused, 400, 3)


def test_the_secret_is_kept_by_nobody(service: Service) -> None:
    made = sent(service)
    secret = made.token.encode()
    other = httpx.get(f"{service.rest}/invitations/{made.token}")
    assert other.status_code == 200
    answers = [
        answer(service, "accept", made.token),
        answer(service, "decline", made.token),
        httpx.get(f"{service.rest}/v1/{parent(service)}/invitations", headers=service.headers),
    ]
    assert all(secret not in each.content for each in answers)
    admin = httpx.HTTPTransport(uds=str(service.var / "envoy" / "admin.sock"))
    with httpx.Client(transport=admin) as client:
        stats = client.get("http://localhost/stats")
    assert stats.status_code == 200
    assert secret not in stats.content
    kept = [file for file in Path(service.var).rglob("*") if file.is_file()]
    assert any(file.suffix == ".log" for file in kept)
    holding = [file for file in kept if secret in file.read_bytes()]
    assert {file.suffix for file in holding} == {".eml"}


def test_a_program_that_posts_the_form_learns_of_a_key_used_twice(service: Service) -> None:
    first, second = sent(service), sent(service)
    headers = {"idempotency-key": str(uuid.uuid4())}

    def post(made: Sent) -> httpx.Response:
        page = f"{service.rest}/invitations/{made.token}"
        return httpx.post(page, data={"answer": "accept"}, headers=headers)

    assert [post(first).status_code, post(first).status_code] == [303, 303]
    assert error(post(second), 400, 3)["ErrorInfo"]["reason"] == "IDEMPOTENCY_KEY_REUSED"
    assert second.read()["state"] == "PENDING"


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    with running(tmp_path / "var", unknown_links_per_min=5) as service:
        made = sent(service)
        for _ in range(5):
            assert answer(service, "accept", secrets.token_urlsafe(24)).status_code == 404
        refused = httpx.post(
            f"{service.rest}/v1/invitations:accept",
            json={"token": secrets.token_urlsafe(24)},
            headers={"x-forwarded-for": "192.0.2.7"},  # nobody's word counts
        )
        details = error(refused, 429, 8)
        assert details["ErrorInfo"]["reason"] == "RATE_EXCEEDED"
        wait_s = float(details["RetryInfo"]["retryDelay"].removesuffix("s"))
        assert 0 < wait_s <= 12
        assert made.customer()["state"] == "ACCEPTANCE_REQUIRED"


def test_what_has_lapsed_is_recorded_by_itself(tmp_path: Path) -> None:
    with running(tmp_path / "var", sweep_interval_s=0.2) as service:
        made = sent(service)
        past = int(time.time() * 1_000_000) - 1
        with closing(sqlite3.connect(service.var / "billing.db", timeout=10)) as database, database:
            database.execute("UPDATE customers SET expires_at = ?", (past,))
        assert made.read()["state"] == "EXPIRED"
        error(answer(service, "accept", made.token), 400, 9)

        def inactive() -> bool:
            return bool(made.customer()["state"] == "INACTIVE")

        assert eventually(inactive)
        assert made.read()["endTime"] == made.read()["expireTime"]


def test_an_e_mail_that_comes_back(service: Service) -> None:
    made = sent(service)
    name = made.read()["name"]
    mail = made.mails[-1]
    with smtplib.SMTP("127.0.0.1", int(service.bounces.rpartition(":")[2])) as smtp:
        sender = mail["Return-Path"].strip("<>")
        assert mail["X-Envelope-To"] == made.email
        smtp.sendmail("", [sender], SAMPLES["postfix"].content)
    bounced = get(service, name)
    delivery = bounced["delivery"]
    assert (bounced["state"], delivery["state"]) == ("PENDING", "BOUNCED")
    assert delivery["lastError"] == {
        "message": "There is no such mailbox.",
        "smtpCode": 550,
        "enhancedStatus": "5.1.1",
    }
    assert listed(service, f'delivery.state = BOUNCED AND email = "{made.email}"')[
        "invitations"
    ] == [bounced]
    corrected = httpx.patch(
        f"{service.rest}/v1/{name}",
        json={"email": f"right-{made.email}"},
        params={"updateMask": "email"},
        headers=service.headers,
    )
    assert corrected.status_code == 200, corrected.text
    assert corrected.json()["email"] == f"right-{made.email}"
    assert corrected.json()["delivery"]["state"] in ("QUEUED", "SENT")
    (again,) = eventually(lambda: service.mails_to(f"right-{made.email}"))
    assert answer(service, "accept", token_in(mail)).status_code == 404
    assert answer(service, "accept", token_in(again)).json()["state"] == "ACCEPTED"
    for body, mask, field in (
        ({"email": "nobody"}, "email", "email"),
        ({"email": ""}, "email", "email"),
        ({"email": "a@example.com"}, "other", "update_mask"),
    ):
        wrong = httpx.patch(
            f"{service.rest}/v1/{name}",
            json=body,
            params={"updateMask": mask},
            headers=service.headers,
        )
        assert wrong.status_code == 400
        assert field in wrong.text.replace("updateMask", "update_mask")
