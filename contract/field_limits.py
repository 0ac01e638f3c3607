"""How large a field may be: by its own options, or by those for messages that are Google's."""

from typing import NamedTuple

from billing.options.v1 import limits_pb2
from google.protobuf.descriptor import FieldDescriptor
from yandex.cloud import validation_pb2

_GOOGLES = {
    each.field: each
    for each in limits_pb2.DESCRIPTOR.GetOptions().Extensions[limits_pb2.field_limits]
}


class FieldLimits(NamedTuple):
    """Limits as they are written in the options; "" for none."""

    length: str
    size: str
    value: str


def limits_of(field: FieldDescriptor) -> FieldLimits:
    """Returns the limits of a field, of any pool of descriptors."""
    options = field.GetOptions().Extensions
    others = _GOOGLES.get(field.full_name, limits_pb2.FieldLimits())
    return FieldLimits(
        options[validation_pb2.length] or others.length,
        options[validation_pb2.size] or others.size,
        options[validation_pb2.value] or others.value,
    )
