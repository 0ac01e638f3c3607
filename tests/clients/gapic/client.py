"""A client that Google's generator makes of proto/, over gRPC and over REST."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api
import grpc
from google.api_core import exceptions
from google.auth import credentials
from google.protobuf import field_mask_pb2
from report import DEV, address, call

REPOSITORY = Path(__file__).parents[3]
PROTOS = REPOSITORY / "proto"
PARENT = f"resellers/{DEV['resellerId']}"


class Token(credentials.AnonymousCredentials):
    """An access token that needs no refreshing."""

    def before_request(self, _request, _method, _url, headers):
        headers["authorization"] = f"Bearer {DEV['token']}"


def generate(folder):
    """Runs the generator as its documentation has it."""
    # Ships this file under the name that its stubs are registered by.
    google_protos = Path(next(iter(google.api.__path__))).parent
    longrunning = folder / "include" / "google" / "longrunning"
    longrunning.mkdir(parents=True)
    shutil.copy(
        google_protos / "longrunning" / "operations_proto.proto", longrunning / "operations.proto"
    )
    own = PROTOS / "billing" / "v1"
    options = (
        *("transport=grpc+rest", "rest-numeric-enums", "warehouse-package-name=acme-billing"),
        *("python-gapic-namespace=acme", "python-gapic-name=billing"),
        f"service-yaml={own / 'billing_v1.yaml'}",
        f"retry-config={own / 'billing_grpc_service_config.json'}",
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--plugin={Path(sys.executable).parent / 'protoc-gen-python_gapic'}",
            *(f"-I{PROTOS}", f"-I{folder / 'include'}", f"-I{google_protos.parent}"),
            f"--python_gapic_out={folder}",
            f"--python_gapic_opt={','.join(options)}",
            *(f"billing/v1/{each.name}" for each in sorted(own.glob("*.proto"))),
        ],
        check=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


made = Path(tempfile.mkdtemp())
with call("generate"):
    generate(made)
sys.path.insert(0, str(made))
from acme import billing_v1  # noqa: E402 - made only now
from acme.billing_v1.services.customer_service.transports import (  # noqa: E402
    CustomerServiceGrpcTransport,
    CustomerServiceRestTransport,
)

HOST = DEV["rest_tls"].removeprefix("https://")
os.environ["REQUESTS_CA_BUNDLE"] = DEV["ca"]
channel = grpc.secure_channel(
    HOST,
    grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(Path(DEV["ca"]).read_bytes()),
        grpc.access_token_call_credentials(DEV["token"]),
    ),
)
CLIENTS = {
    "gRPC": billing_v1.CustomerServiceClient(
        transport=CustomerServiceGrpcTransport(channel=channel)
    ),
    "REST": billing_v1.CustomerServiceClient(
        transport=CustomerServiceRestTransport(host=HOST, credentials=Token())
    ),
}


def invite(client, who="ostap"):
    customer = billing_v1.Customer(
        display_name="Рога и копыта", email=address(who), person={"name": "Остап"}
    )
    return client.invite_customer(parent=PARENT, customer=customer)


for way, client in CLIENTS.items():
    with call(f"{way}: invite and wait"):
        operation = invite(client)
        customer = operation.result(timeout=60)
        assert isinstance(customer, billing_v1.Customer)
        assert operation.metadata.customer == customer.name

    with call(f"{way}: failed operation"):
        error = invite(client, "refused").exception(timeout=60)
        assert isinstance(error, exceptions.FailedPrecondition), error

    with call(f"{way}: list"):
        request = billing_v1.ListCustomersRequest(
            parent=PARENT, filter=f'email = "{customer.email}"', page_size=1
        )
        assert [each.name for each in client.list_customers(request)] == [customer.name]
        client.create_customer(parent=PARENT, customer={"display_name": "Second"})
        pages = billing_v1.ListCustomersRequest(parent=PARENT, page_size=1)
        assert len(list(client.list_customers(pages))) >= 2

    with call(f"{way}: update"):
        customer.labels = {"tier": "gold"}
        changed = client.update_customer(
            customer=customer, update_mask=field_mask_pb2.FieldMask(paths=["labels"])
        )
        assert changed.labels == {"tier": "gold"}
        try:
            client.update_customer(
                customer=customer, update_mask=field_mask_pb2.FieldMask(paths=["labels"])
            )
        except exceptions.Conflict as stale:  # Aborted is one; REST tells no more than 409
            assert stale.reason == "ETAG_STALE", stale  # noqa: PT017 - pytest is not there
        else:
            raise AssertionError("a stale etag was taken")

    with call(f"{way}: delete and take back"):
        name = customer.name
        assert client.delete_customer(name=name).state == billing_v1.Customer.State.DELETED
        assert client.undelete_customer(name=name).name == name
