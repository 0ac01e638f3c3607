"""How large a field may be: by its own options, or by those for messages that are Google's."""

import re
from typing import NamedTuple

from billing.options.v1 import limits_pb2
from google.protobuf.descriptor import FieldDescriptor
from yandex.cloud import validation_pb2

_GOOGLES = {
    each.field: each
    for each in limits_pb2.DESCRIPTOR.GetOptions().Extensions[limits_pb2.field_limits]
}
_LIMIT = re.compile(r"(?P<op><=|>=|<|>)?(?P<low>-?\d+)(?:-(?P<high>-?\d+))?")


class Limit(NamedTuple):
    """The least and the most that is allowed, both inclusive; None: no such bound."""

    least: int | None
    most: int | None
    written: str

    @classmethod
    def parse(cls, written: str) -> "Limit":
        """Reads `<=1000`, `>0`, `0-100` or one number. Raises ValueError."""
        parsed = _LIMIT.fullmatch(written.replace(" ", ""))
        if not parsed or (parsed["op"] and parsed["high"]):
            raise ValueError(f"not a limit: {written!r}")
        number = int(parsed["low"])
        least, most = {
            "<=": (None, number),
            "<": (None, number - 1),
            ">=": (number, None),
            ">": (number + 1, None),
            None: (number, int(parsed["high"] or number)),
        }[parsed["op"]]
        return cls(least, most, written)


class FieldLimits(NamedTuple):
    """The limits of a field: characters of a text, elements of a list or map, numbers; or None."""

    length: Limit | None
    size: Limit | None
    value: Limit | None


def limits_of(field: FieldDescriptor) -> FieldLimits:
    """Returns the limits of a field, of any pool of descriptors."""
    options = field.GetOptions().Extensions
    others = _GOOGLES.get(field.full_name, limits_pb2.FieldLimits())
    written = (
        options[validation_pb2.length] or others.length,
        options[validation_pb2.size] or others.size,
        options[validation_pb2.value] or others.value,
    )
    return FieldLimits(*(Limit.parse(each) if each else None for each in written))
