"""Invitations' options by REST, through the real Envoy."""

import uuid
from typing import Any

import httpx
import pytest

from tests.service import Service, eventually

OPTIONS = {
    "languageCode": "ru",
    "inviterDisplayName": "Анна Петрова",
    "note": "Здравствуйте!\nПодробности — https://evil.example",
    "timeToLive": "7200s",
}


def client(service: Service) -> httpx.Client:
    base = f"{service.rest}/v1/resellers/{service.resellerId}"
    return httpx.Client(base_url=base, headers=service.headers)


def body(**fields: Any) -> dict[str, Any]:
    email = f"{uuid.uuid4().hex}@example.com"
    return {"customer": {"displayName": "Romashka", "email": email}, **fields}


def test_an_e_mail_says_what_was_asked_for(service: Service) -> None:
    with client(service) as calls:
        asked = body(**OPTIONS)
        answer = calls.post("/customers:invite", json=asked)
        assert answer.status_code == 200, answer.text
        email = asked["customer"]["email"]
        mail = eventually(lambda: next(iter(service.mails_to(email)), None))
        assert mail["Content-Language"] == "ru"
        text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert "Вам пишет Анна Петрова" in text
        assert "> Здравствуйте!" in text
        assert "https://evil" not in text
        found = calls.get("/invitations", params={"filter": f'email = "{email}"'}).json()
        (invitation,) = found["invitations"]
        assert {name: invitation[name] for name in OPTIONS} == OPTIONS
        assert invitation["deliveryMethod"] == "EMAIL"


def test_a_link_is_made_for_who_hands_it_over(service: Service) -> None:
    with client(service) as calls:
        asked = body(deliveryMethod="LINK")
        operation = calls.post("/customers:invite", json=asked).json()
        assert operation["done"]
        assert operation["response"]["displayName"] == "Romashka"
        email = asked["customer"]["email"]
        found = calls.get("/invitations", params={"filter": f'email = "{email}"'}).json()
        (invitation,) = found["invitations"]
        name = invitation["name"].partition("invitations/")[2]
        made = calls.post(f"/invitations/{name}:createLink", json={})
        assert made.status_code == 200, made.text
        assert made.headers["cache-control"] == "no-store"
        assert set(made.json()) == {"uri", "expireTime"}
        assert made.json()["expireTime"] == invitation["expireTime"]
        page = httpx.get(made.json()["uri"])
        assert page.status_code == 200
        assert "Romashka" in page.text
        assert httpx.post(made.json()["uri"], data={"answer": "accept"}).status_code == 303
        assert service.mails_to(email) == []
        refused = calls.post(f"/invitations/{name}:createLink", json={})
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("languageCode", "xx"),
        ("note", "n" * 1025),
        ("note", "a\u0000"),
        ("timeToLive", "3599s"),
        ("timeToLive", "7776001s"),
        ("timeToLive", "an hour"),
        ("deliveryMethod", "PIGEON"),
        ("inviterDisplayName", "a\nb"),
    ],
)
def test_what_is_wrong_is_named(service: Service, field: str, value: str) -> None:
    with client(service) as calls:
        refused = calls.post("/customers:invite", json=body(**{field: value}))
    assert refused.status_code == 400, refused.text
    assert field in refused.text
