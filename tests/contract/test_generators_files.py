"""What is shipped for Google's generators beside the protos says what the protos say."""

import json
from pathlib import Path

import yaml
from billing.options.v1 import methods_pb2
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2

OPERATIONS = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "proto" / "billing" / "v1"


def services() -> list[descriptor_pb2.ServiceDescriptorProto]:
    described = (ROOT / "gen" / "descriptors.pb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(described).file
    return [service for file in files if file.package == "billing.v1" for service in file.service]


def test_the_service_file_names_every_service_and_where_operations_are() -> None:
    said = yaml.safe_load((FOLDER / "billing_v1.yaml").read_text())
    names = {f"billing.v1.{service.name}" for service in services()}
    assert {api["name"] for api in said["apis"]} == names | {OPERATIONS.full_name}
    selected = {rule["selector"] for rule in said["http"]["rules"]}
    annotated = {method.full_name for method in OPERATIONS.methods} - {
        f"{OPERATIONS.full_name}.WaitOperation"  # which Google gives no path
    }
    assert selected == annotated


def test_retries_are_for_every_method_that_only_reads() -> None:
    (config,) = json.loads((FOLDER / "billing_grpc_service_config.json").read_text())[
        "methodConfig"
    ]
    reading = {
        (f"billing.v1.{service.name}", method.name)
        for service in services()
        for method in service.method
        if method.options.Extensions[methods_pb2.only_reads] and not method.server_streaming
    }
    operations = {(OPERATIONS.full_name, name) for name in ("GetOperation", "ListOperations")}
    named = {(each["service"], each["method"]) for each in config["name"]}
    assert named == reading | operations
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
