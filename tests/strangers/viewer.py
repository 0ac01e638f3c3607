"""A second account for the service under test, with the least of roles."""

import re

import httpx

from server.domain import ids
from tests.service import Service


def viewer_token(service: Service) -> str:
    """Adds a service account that may look at the service's reseller; returns an IAM token of it."""
    added = service.command("service-accounts", "add", "A greedy viewer")
    (account,) = re.findall(rf"{ids.SERVICE_ACCOUNT}\w{{17}}", added)
    service.command("roles", "grant", account, "billing.accounts.viewer", service.resellerId)
    file = service.var / "viewer.json"
    service.command("keys", "add", account, "--output", str(file))
    answer = httpx.post(f"{service.rest}/iam/v1/tokens", json={"jwt": service.assertion(file)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["iamToken"])
