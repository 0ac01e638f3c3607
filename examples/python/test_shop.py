"""What a program that invites customers has to bear: delays, expiry, failures, answers by people."""

import urllib.request
import uuid
from datetime import timedelta

import pytest
from billing_service.testing import Billing


def invite(billing: Billing, email: str, **headers: str) -> dict:
    body = {
        "resellerId": billing.reseller_id,
        "name": "Horns and Hooves",
        "invitationEmail": email,
        "person": {"name": "Ostap"},
    }
    return billing.call("POST", "/billing/v1/customers:invite", body, headers)


def types(billing: Billing) -> list[str]:
    return [event["type"] for event in billing.events()]


def test_an_invitation_expires(billing: Billing) -> None:
    invite(billing, "ignore@sandbox.example")
    billing.clock.advance(timedelta(days=31))
    assert types(billing)[-1] == "invitation.expired"


def test_a_person_declines(billing: Billing) -> None:
    invite(billing, "ostap@example.com")
    urllib.request.urlopen(billing.link("ostap@example.com"), data=b"answer=decline").close()
    assert "invitation.declined" in types(billing)


def test_an_e_mail_is_late(billing: Billing) -> None:
    operation = invite(billing, "delay+60s@sandbox.example")
    with pytest.raises(AssertionError, match="0 e-mails"):
        billing.mail.wait("delay+60s@sandbox.example", timeout=0)
    billing.clock.advance(timedelta(hours=1))
    assert billing.call("GET", f"/operations/{operation['id']}")["done"]


def test_a_call_that_failed_may_have_worked(billing: Billing) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    with pytest.raises(AssertionError, match="503"):
        invite(billing, "ostap@example.com", **key, **{"x-sandbox-fault": "done-unavailable"})
    invite(billing, "ostap@example.com", **key)
    assert types(billing).count("customer.invited") == 1


def test_tests_see_nothing_of_one_another(billing: Billing) -> None:
    assert billing.events() == []
    assert billing.mail.all() == []
