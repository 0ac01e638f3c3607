"""Second accounts for the service under test, who attack others."""

import re

import httpx

from server.domain import ids
from tests.service import Service

OWNED = "greedy"


def viewer_token(service: Service) -> str:
    """Adds a service account that may look at the service's reseller; returns an IAM token of it."""
    return _token(service, "viewer", service.resellerId)


def owner_token(service: Service) -> str:
    """Adds the reseller OWNED, and a service account that owns it; returns an IAM token of that."""
    service.command("resellers", "add", "Greedy", "--id", OWNED)
    return _token(service, "owner", OWNED)


def _token(service: Service, role: str, reseller_id: str) -> str:
    added = service.command("service-accounts", "add", f"A greedy {role}")
    (account,) = re.findall(rf"{ids.SERVICE_ACCOUNT}\w{{17}}", added)
    service.command("roles", "grant", account, f"billing.accounts.{role}", reseller_id)
    file = service.var / f"{role}.json"
    service.command("keys", "add", account, "--output", str(file))
    answer = httpx.post(f"{service.rest}/iam/v1/tokens", json={"jwt": service.assertion(file)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["iamToken"])
