"""curl over TLS, as shell scripts use it."""

import json
import subprocess
import time
import uuid

from report import DEV, address, call


def curl(method, path, body=None, **headers):
    """Returns the answer's JSON; curl itself fails for an HTTP error."""
    asked = ["curl", "--silent", "--show-error", "--fail-with-body", "--cacert", DEV["ca"]]
    asked += ["--max-time", "30", "--request", method]
    headers = {"Authorization": f"Bearer {DEV['token']}", **headers}
    for name, value in headers.items():
        asked += ["--header", f"{name}: {value}"]
    if body is not None:
        asked += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
    ran = subprocess.run([*asked, DEV["rest_tls"] + path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def invitation(who="ostap"):
    return {
        "resellerId": DEV["resellerId"],
        "name": "Рога и копыта",
        "invitationEmail": address(who),
        "person": {"name": "Остап"},
    }


def invite(who="ostap", **headers):
    return curl("POST", "/billing/v1/customers:invite", invitation(who), **headers)


def ended(begun):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        operation = curl("GET", f"/operations/{begun['id']}")
        if operation["done"]:
            return operation
        time.sleep(0.1)
    raise AssertionError("the operation did not end")


with call("discovery"):
    found = curl("GET", "/endpoints", Authorization="")["endpoints"]
    assert [endpoint["id"] for endpoint in found] == ["billing", "endpoint", "iam", "operation"]

with call("invite"):
    begun = invite()
    invited = begun["metadata"]["customerId"]
    assert ended(begun)["response"]["id"] == invited

with call("create"):
    made = curl(
        "POST",
        "/billing/v1/customers:createResellerServedCustomer",
        {"resellerId": DEV["resellerId"], "name": "Геркулес", "person": {"name": "П"}},
    )
    created = made["response"]["id"]

with call("list"):
    listing = f"/billing/v1/customers?resellerId={DEV['resellerId']}&pageSize=1"
    first = curl("GET", listing)
    second = curl("GET", f"{listing}&pageToken={first['nextPageToken']}")
    ids = [customer["id"] for page in (first, second) for customer in page["customers"]]
    assert ids == [created, invited]

for action in ("suspend", "activate"):
    with call(action):
        done = curl("POST", f"/billing/v1/customers/{created}:{action}")
        assert done["response"]["id"] == created

with call("failed operation"):
    assert ended(invite("refused"))["error"]["code"] == 9

with call("cancel"):
    begun = invite("later")
    curl("POST", f"/operations/{begun['id']}:cancel")
    assert ended(begun)["error"]["code"] == 1

with call("retry"):
    body, key = invitation(), str(uuid.uuid4())
    first, second = (
        curl("POST", "/billing/v1/customers:invite", body, **{"Idempotency-Key": key})
        for _ in range(2)
    )
    assert first["id"] == second["id"]
