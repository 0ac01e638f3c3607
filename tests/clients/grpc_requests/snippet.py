import json
import os
import uuid
from pathlib import Path

from grpc_requests import Client

dev = json.loads(Path(os.environ.get("BILLING_VAR", "var"), "dev.json").read_text())
client = Client(dev["grpc"])
operation = client.request(
    "yandex.cloud.billing.v1.CustomerService",
    "Invite",
    {
        "reseller_id": dev["resellerId"],
        "name": "Horns and Hooves",
        "invitation_email": f"ostap-{uuid.uuid4()}@example.com",
        "person": {"name": "Ostap"},
    },
    metadata=[("authorization", f"Bearer {dev['token']}")],
)
print("operation", operation["id"], "customer", operation["metadata"]["customer_id"])
