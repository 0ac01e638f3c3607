"""A second account for the service under test, with the least of roles."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import jwt

from server.domain import ids
from tests.service import ROOT, Service


def viewer_token(service: Service) -> str:
    """Adds a service account that may look at the service's reseller; returns an IAM token of it."""
    added = _command(service, "service-accounts", "add", "A greedy viewer")
    (account,) = re.findall(rf"{ids.SERVICE_ACCOUNT}\w{{17}}", added)
    _command(service, "roles", "grant", account, "billing.accounts.viewer", service.resellerId)
    file = service.var / "viewer.json"
    _command(service, "keys", "add", account, "--output", str(file))
    key = json.loads(file.read_text())
    now = datetime.now(UTC)
    claims = {
        "iss": account,
        "aud": f"https://iam.{service.rest_tls.removeprefix('https://')}/iam/v1/tokens",
        "iat": now,
        "exp": now + timedelta(hours=1),
    }
    signed = jwt.encode(claims, key["private_key"], "PS256", {"kid": key["id"]})
    answer = httpx.post(f"{service.rest}/iam/v1/tokens", json={"jwt": signed})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["iamToken"])


def _command(service: Service, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "server", *words],
        cwd=ROOT,
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
