import json
import os
import uuid
from pathlib import Path

import grpc
from google.api_core import operation
from google.api_core.operations_v1 import OperationsClient
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

dev = json.loads(Path(os.environ.get("BILLING_VAR", "var"), "dev.json").read_text())
channel = grpc.secure_channel(
    dev["rest_tls"].removeprefix("https://"),
    grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(Path(dev["ca"]).read_bytes()),
        grpc.access_token_call_credentials(dev["token"]),
    ),
)

# The service describes its messages itself; stubs made from proto/ do as well.
messages = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
Request, Customer, Metadata = (
    GetMessageClass(messages.FindMessageTypeByName(name))
    for name in (
        "billing.v1.InviteCustomerRequest",
        "billing.v1.Customer",
        "billing.v1.InviteCustomerMetadata",
    )
)
invite = channel.unary_unary(
    "/billing.v1.CustomerService/InviteCustomer",
    request_serializer=Request.SerializeToString,
    response_deserializer=operations_pb2.Operation.FromString,
)
begun = invite(
    Request(
        parent=f"resellers/{dev['resellerId']}",
        customer={
            "display_name": "Horns and Hooves",
            "email": f"ostap-{uuid.uuid4()}@example.com",
            "person": {"name": "Ostap"},
        },
    )
)
future = operation.from_gapic(begun, OperationsClient(channel), Customer, metadata_type=Metadata)
print("invited", future.result(timeout=60).name, "by", future.metadata.invitation)
