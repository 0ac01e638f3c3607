"""What a relay reports by HTTP, through the real Envoy."""

import json
import uuid
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook

from tests.service import RELAY_SECRET, Service, eventually


def report(
    service: Service, body: bytes, secret: str | None = RELAY_SECRET, **headers: str
) -> httpx.Response:
    now, id_ = datetime.now(UTC), f"msg_{uuid.uuid4().hex}"
    if secret:
        headers["webhook-id"], headers["webhook-timestamp"] = id_, str(int(now.timestamp()))
        headers["webhook-signature"] = Webhook(secret).sign(id_, now, body.decode())
    return httpx.post(f"{service.rest}/v1/bounces", content=body, headers=headers)


def test_a_report_of_a_relay_is_recorded(service: Service) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    operation = service.invite(invitationEmail=email)
    service.finished(operation["id"])
    mail = eventually(lambda: next(iter(service.mails_to(email)), None))
    told = {"sender": mail["Return-Path"], "action": "failed", "status": "5.1.1"}
    body = json.dumps(told).encode()
    forged = report(service, body, None, **{"content-type": "text/plain; charset=UTF-8"})
    assert (forged.status_code, forged.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    for _ in range(2):
        answer = report(service, body, **{"content-type": "text/plain; charset=UTF-8"})
        assert (answer.status_code, answer.json()) == (200, {})
    name = f"resellers/{service.resellerId}/invitations/inv{operation['id'][3:]}"
    found = httpx.get(f"{service.rest}/v1/{name}", headers=service.headers).json()
    assert found["delivery"]["state"] == "BOUNCED"
    assert found["delivery"]["lastError"]["enhancedStatus"] == "5.1.1"
    too_large = report(service, b"{" + b" " * 17_000 + b"}")
    assert too_large.status_code == 413, too_large.text
    assert report(service, b"[" * 16_000).status_code == 400
    assert httpx.get(f"{service.rest}/v1/bounces").status_code == 405
