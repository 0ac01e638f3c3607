"""Clients that openapi-generator makes of /openapi.json: its python, and its typescript-fetch."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from report import DEV, address, call

made = Path(tempfile.mkdtemp())
document = made / "openapi.json"
document.write_bytes(urllib.request.urlopen(f"{DEV['rest']}/openapi.json").read())


def generate(kind, *options):
    program = Path(sys.executable).parent / "openapi-generator-cli"
    ran = subprocess.run(
        [program, "generate", "-i", document, "-g", kind, "-o", made / kind, *options],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


with call("python: generate and compile"):
    generate("python", "--package-name", "generated")
    subprocess.run([sys.executable, "-m", "compileall", "-q", made / "python"], check=True)
sys.path.insert(0, str(made / "python"))
import generated  # noqa: E402 - made only now

client = generated.ApiClient(
    generated.Configuration(host=DEV["rest"], access_token=DEV["token"], retries=0)
)
customers = generated.BillingV1CustomerServiceApi(client)
operations = generated.GoogleLongrunningOperationsApi(client)


def invite(email, key):
    customer = generated.BillingV1InviteCustomerRequestCustomer(
        display_name="Рога и копыта", email=email, person=generated.BillingV1Person(name="Остап")
    )
    body = generated.CustomerServiceInviteCustomerRequest(customer=customer)
    return customers.customer_service_invite_customer(DEV["resellerId"], body, idempotency_key=key)


email, key = address(), str(uuid.uuid4())
with call("python: invite and wait"):
    begun = operation = invite(email, key)
    until = time.monotonic() + 60
    while not operation.done and time.monotonic() < until:
        time.sleep(0.1)
        operation = operations.operations_get_operation(begun.name.removeprefix("operations/"))
    assert operation.response.actual_instance.email == email

with call("python: repeat with a key"):
    assert invite(email, key).name == begun.name
    status = 0
    try:
        invite(address(), key)
    except generated.ApiException as error:
        status = error.status
    assert status == 400

try:
    generate("typescript-fetch")
    script = Path(__file__).parent / "fetch.js"
    ran = subprocess.run(
        ["node", script, sys.argv[1], made / "typescript-fetch"], capture_output=True, text=True
    )
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    assert said, ran.stderr
except AssertionError as error:
    said = [{"call": "generate and compile", "ok": False, "note": str(error)}]
for each in said:
    print(json.dumps({**each, "call": f"typescript-fetch: {each['call']}"}), flush=True)
