"""A client that openapi-python-client makes of /openapi.json."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from report import DEV, address, call

made = Path(tempfile.mkdtemp())
with call("generate"):
    document = made / "openapi.json"
    document.write_bytes(urllib.request.urlopen(f"{DEV['rest']}/openapi.json").read())
    ran = subprocess.run(
        [
            *(Path(sys.executable).parent / "openapi-python-client", "generate"),
            *("--path", document, "--output-path", made / "client"),
        ],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
sys.path.insert(0, str(made / "client"))
import billing_api_client as billing  # noqa: E402 - made only now
from billing_api_client import models  # noqa: E402

client = billing.AuthenticatedClient(base_url=DEV["rest"], token=DEV["token"])
RESELLER = DEV["resellerId"]


def function(service, name):
    return importlib.import_module(f"billing_api_client.api.{service}.{name}")


INVITE = function("billing_v_1_customer_service", "customer_service_invite_customer")
LIST = function("billing_v_1_customer_service", "customer_service_list_customers")
UPDATE = function("billing_v_1_customer_service", "customer_service_update_customer")
OPERATION = function("google_longrunning_operations", "operations_get_operation")


def invite(email, key):
    body = models.CustomerServiceInviteCustomerBody(
        customer=models.BillingV1InviteCustomerRequestCustomer(
            display_name="Рога и копыта",
            email=email,
            person=models.BillingV1Person(name="Остап"),
        )
    )
    return INVITE.sync(RESELLER, client=client, body=body, idempotency_key=key)


email, key = address(), str(uuid.uuid4())
with call("invite and wait"):
    begun = invite(email, key)
    assert isinstance(begun, models.GoogleLongrunningOperation), begun
    operation = begun
    until = time.monotonic() + 60
    while not operation.done and time.monotonic() < until:
        time.sleep(0.1)
        operation = OPERATION.sync(begun.name.removeprefix("operations/"), client=client)
    assert operation.response.name.startswith(f"resellers/{RESELLER}/customers/")

with call("repeat with a key"):
    assert invite(email, key).name == begun.name
    refused = invite(address(), key)
    assert isinstance(refused, models.ErrorResponse), refused

with call("list"):
    page = LIST.sync(RESELLER, client=client, filter_=f'email = "{email}"', page_size=1)
    (customer,) = page.customers
    assert customer.email == email

with call("update"):
    customer_id = customer.name.rpartition("/")[2]
    body = models.BillingV1Customer(display_name="Romashka")
    changed = UPDATE.sync(
        RESELLER, customer_id, client=client, body=body, update_mask="displayName"
    )
    assert changed.display_name == "Romashka", changed
