"""A generic client that learns everything from reflection, through the gateway and its TLS."""

import grpc
from google.rpc import error_details_pb2  # noqa: F401 - what errors' details are made of
from grpc_requests import Client
from report import DEV, address, call

CUSTOMERS = "yandex.cloud.billing.v1.CustomerService"
OPERATIONS = "google.longrunning.Operations"
METADATA = [("authorization", f"Bearer {DEV['token']}")]

client = Client(
    DEV["rest_tls"].removeprefix("https://"), ssl=True, credentials={"root_certificates": DEV["ca"]}
)


def request(who="ostap"):
    return {
        "reseller_id": DEV["resellerId"],
        "name": "Рога и копыта",
        "invitation_email": address(who),
        "person": {"name": "Остап"},
    }


def ended(operation):
    return client.request(
        OPERATIONS,
        "WaitOperation",
        {"name": f"operations/{operation['id']}", "timeout": "60s"},
        metadata=METADATA,
    )


with call("discovery"):
    assert {CUSTOMERS, OPERATIONS} <= set(client.service_names)
    found = client.request("yandex.cloud.endpoint.ApiEndpointService", "List")
    assert len(found["endpoints"]) == 4

with call("invite"):
    begun = client.request(CUSTOMERS, "Invite", request(), metadata=METADATA)
    invited = begun["metadata"]["customer_id"]
    assert ended(begun)["response"]["name"].endswith(f"/customers/{invited}")

with call("create"):
    made = client.request(
        CUSTOMERS,
        "CreateResellerServed",
        {"reseller_id": DEV["resellerId"], "name": "Геркулес", "person": {"name": "П"}},
        metadata=METADATA,
    )
    created = made["response"]["id"]

with call("list"):
    page = client.request(
        CUSTOMERS, "List", {"reseller_id": DEV["resellerId"], "page_size": 2}, metadata=METADATA
    )
    assert [customer["id"] for customer in page["customers"]] == [created, invited]

for action in ("Suspend", "Activate"):
    with call(action.lower()):
        done = client.request(CUSTOMERS, action, {"customer_id": created}, metadata=METADATA)
        assert done["response"]["id"] == created

with call("failed operation"):
    refused = client.request(CUSTOMERS, "Invite", request("refused"), metadata=METADATA)
    assert ended(refused)["error"]["code"] == grpc.StatusCode.FAILED_PRECONDITION.value[0]

with call("cancel"):
    begun = client.request(CUSTOMERS, "Invite", request("later"), metadata=METADATA)
    client.request(
        "yandex.cloud.operation.OperationService",
        "Cancel",
        {"operation_id": begun["id"]},
        metadata=METADATA,
    )
    assert ended(begun)["error"]["code"] == grpc.StatusCode.CANCELLED.value[0]
