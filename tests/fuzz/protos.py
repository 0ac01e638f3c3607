"""Every RPC that the server offers, from the descriptors: our services, health, reflection."""

import importlib
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

_SET = Path(__file__).parents[2] / "gen" / "descriptors.pb"


@cache
def methods() -> dict[str, MethodDescriptor]:
    """Returns all methods by full name."""
    files = descriptor_pb2.FileDescriptorSet.FromString(_SET.read_bytes()).file
    names = []
    for file in files:
        if file.service:
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            names += [f"{file.package}.{service.name}" for service in file.service]
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(name) for name in names]
    for module in (health_pb2, reflection_pb2):
        services += module.DESCRIPTOR.services_by_name.values()
    return {method.full_name: method for service in services for method in service.methods}


def output_type(method: str) -> type[Message]:
    """Returns the class of what a method answers with."""
    return GetMessageClass(methods()[method].output_type)


def is_read(method: str) -> bool:
    """Whether the method never changes anything."""
    name = method.rpartition(".")[2]
    return name.startswith(("Get", "List", "Wait", "Check", "Watch", "ServerReflection"))
