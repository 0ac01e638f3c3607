"""google-api-core as an independent client of google.longrunning, over gRPC and over REST."""

import os
from pathlib import Path

import grpc
from google.api_core import exceptions, operation
from google.api_core.operations_v1 import AbstractOperationsClient, OperationsClient
from google.api_core.operations_v1.transports.rest import OperationsRestTransport
from google.auth import credentials
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401 - what errors' details are made of
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from report import DEV, address, call

channel = grpc.secure_channel(
    DEV["rest_tls"].removeprefix("https://"),
    grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(Path(DEV["ca"]).read_bytes()),
        grpc.access_token_call_credentials(DEV["token"]),
    ),
)
described = ProtoReflectionDescriptorDatabase(channel)
known = descriptor_pool.Default()


def learn(file):
    """Adds a file and what it needs to where JSON's types are looked up too."""
    for name in file.dependency:
        try:
            known.FindFileByName(name)
        except KeyError:
            learn(described.FindFileByName(name))
    known.Add(file)


for symbol in ("billing.v1.CustomerService", "billing.v1.UpdateAccessMetadata"):
    learn(described.FindFileContainingSymbol(symbol))
Request, Customer, Metadata = (
    GetMessageClass(known.FindMessageTypeByName(name))
    for name in (
        "billing.v1.InviteCustomerRequest",
        "billing.v1.Customer",
        "billing.v1.InviteCustomerMetadata",
    )
)
# Its client over REST reads the metadata of all operations that it lists, giving roles among them.
known.FindMessageTypeByName("billing.v1.UpdateAccessMetadata")
invite = channel.unary_unary(
    "/billing.v1.CustomerService/InviteCustomer",
    request_serializer=Request.SerializeToString,
    response_deserializer=operations_pb2.Operation.FromString,
)
client = OperationsClient(channel)
PARENT = f"resellers/{DEV['resellerId']}"

# Where its REST transport finds our operations: it expects names of more parts.
REST_PATHS = {
    f"google.longrunning.Operations.{name}": [rule]
    for name, rule in {
        "GetOperation": {"method": "get", "uri": "/v1/{name=operations/*}"},
        "DeleteOperation": {"method": "delete", "uri": "/v1/{name=operations/*}"},
        "CancelOperation": {
            "method": "post",
            "uri": "/v1/{name=operations/*}:cancel",
            "body": "*",
        },
        "ListOperations": {"method": "get", "uri": "/v1/{name=operations}"},
    }.items()
}


class Token(credentials.AnonymousCredentials):
    """An access token that needs no refreshing."""

    def before_request(self, _request, _method, _url, headers):
        headers["authorization"] = f"Bearer {DEV['token']}"


def future(who="ostap"):
    begun = invite(
        Request(
            parent=PARENT,
            customer={
                "display_name": "Рога и копыта",
                "email": address(who),
                "person": {"name": "Остап"},
            },
        )
    )
    return operation.from_gapic(begun, client, Customer, metadata_type=Metadata)


with call("invite"):
    invited = future()
    assert invited.result(timeout=60).name == invited.metadata.customer
    assert invited.metadata.customer.startswith(f"{PARENT}/customers/")
    assert invited.metadata.invitation.startswith(f"{PARENT}/invitations/")
    assert invited.exception() is None

with call("failed operation"):
    refused = future("refused")
    error = refused.exception(timeout=60)
    assert isinstance(error, exceptions.FailedPrecondition), error
    assert refused.metadata.customer

with call("cancel"):
    later = future("later")
    assert later.cancel()
    assert isinstance(later.exception(timeout=60), exceptions.Cancelled)
    assert later.cancelled()

with call("operations client"):
    names = [future().operation.name for _ in range(3)]
    listed = [each.name for each in client.list_operations("operations", "")]
    assert listed[:3] == names[::-1]
    assert client.get_operation(names[0]).name == names[0]

with call("operations client over REST"):
    os.environ["REQUESTS_CA_BUNDLE"] = DEV["ca"]
    transport = OperationsRestTransport(
        host=DEV["rest_tls"].removeprefix("https://"), credentials=Token(), http_options=REST_PATHS
    )
    rest = AbstractOperationsClient(transport=transport)
    finished = invited.operation.name
    assert rest.get_operation(finished).done
    assert finished in [each.name for each in rest.list_operations("operations", "done = true")]
    rest.cancel_operation(finished)
    rest.delete_operation(finished)
    gone = None
    try:
        rest.get_operation(finished)
    except exceptions.NotFound as error:
        gone = error
    assert gone, "a deleted operation was found"
    assert "There is no such operation" in gone.message, gone.message
    assert (gone.reason, gone.domain) == ("NOT_FOUND", "billing.example.com")
    kinds = {detail["@type"].rpartition(".")[2] for detail in gone.details}
    assert {"ErrorInfo", "ResourceInfo", "RequestInfo"} <= kinds
