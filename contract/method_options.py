"""What options in the protos, and their one table, say of a method: who may call it, what REST's body is."""

from billing.options.v1 import methods_pb2, published_methods_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import MethodOptions

_PUBLISHED = published_methods_pb2.DESCRIPTOR.GetOptions().Extensions[methods_pb2.published_methods]
_OPEN_TO_ALL = frozenset(_PUBLISHED.open_to_all)
_ONLY_READS = frozenset(_PUBLISHED.only_reads)
_MANAGES_ACCESS = frozenset(_PUBLISHED.manages_access)


def is_open_to_all(full_name: str, options: MethodOptions) -> bool:
    """Tells whether a method is called without credentials."""
    return full_name in _OPEN_TO_ALL or options.Extensions[methods_pb2.open_to_all]


def only_reads(full_name: str, options: MethodOptions) -> bool:
    """Tells whether a method changes nothing, so that it may be repeated whenever it fails."""
    return full_name in _ONLY_READS or options.Extensions[methods_pb2.only_reads]


def manages_access(full_name: str, options: MethodOptions) -> bool:
    """Tells whether a method gives or takes roles."""
    return full_name in _MANAGES_ACCESS or options.Extensions[methods_pb2.manages_access]


def body_field(options: MethodOptions) -> str:
    """Returns the field that is all of the body over REST; "" where that holds all fields, or none."""
    body: str = options.Extensions[annotations_pb2.http].body
    return "" if body == "*" else body
