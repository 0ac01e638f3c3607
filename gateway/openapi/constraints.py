"""JSON Schema keywords from the options of one field, as the server checks them."""

import re
from typing import Any

from billing.options.v1 import format_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from yandex.cloud import validation_pb2

# Patterns hold for ECMA 262 and mean the same to Python's `re`.
_CONTROL = "\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029"
TEXT = f"^[^{_CONTROL}]*$"
NOT_BLANK = f"^(?!\\s*$)[^{_CONTROL}]*$"
SOME_TEXT = "[^\\s\\u001c-\\u001f\\u0085]"
PHONE = (
    "^\\+?[0-9][0-9 ().\\/\\u2010-\\u2015-]*(?:(?:[eE][xX][tT]|[xX]|[дД][оО][бБ])\\.? ?[0-9]+)?$"
)
# A text that is empty counts as not set.
_EMPTY = {"maxLength": 0}

_LIMIT = re.compile(r"(?P<op><=|>=|<|>)?(?P<low>-?\d+)(?:-(?P<high>-?\d+))?")


def is_required(field: FieldDescriptor) -> bool:
    """Tells whether a request without the field is refused."""
    options = field.GetOptions().Extensions
    behaviour = options[field_behavior_pb2.field_behavior]
    return options[validation_pb2.required] or field_behavior_pb2.REQUIRED in behaviour


def of_text(field: FieldDescriptor, *, asked: bool) -> dict[str, Any]:
    """Returns the keywords of a string; `asked` if a caller sends it."""
    options = field.GetOptions().Extensions
    required = asked and is_required(field)
    low, high = _bounds(options[validation_pb2.length])
    keywords: dict[str, Any] = {}
    if options[format_pb2.format] == format_pb2.FORMAT_EMAIL:
        email = {"format": "email"}
        keywords |= email if required else {"anyOf": [email, _EMPTY]}
    elif options[format_pb2.format] == format_pb2.FORMAT_PHONE:
        keywords |= {"format": "phone", "pattern": PHONE if required else f"^$|{PHONE}"}
    elif options[format_pb2.format] == format_pb2.FORMAT_OPAQUE:
        keywords |= {"pattern": SOME_TEXT} if required else {}
    elif options[validation_pb2.pattern]:
        keywords["pattern"] = f"^(?:{options[validation_pb2.pattern]})$"
    elif asked:
        keywords["pattern"] = NOT_BLANK if required else TEXT
    if required:
        keywords["minLength"] = max(low or 0, 1)
    if high is not None:
        keywords["maxLength"] = high
    return keywords


def of_number(field: FieldDescriptor) -> dict[str, Any]:
    """Returns the keywords of a number by its `value` option."""
    return _named("minimum", "maximum", field.GetOptions().Extensions[validation_pb2.value])


def of_elements(field: FieldDescriptor) -> dict[str, Any]:
    """Returns the keywords of a repeated field or a map."""
    options = field.GetOptions().Extensions
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    what = "Properties" if is_map else "Items"
    keywords = _named(f"min{what}", f"max{what}", options[validation_pb2.size])
    if is_required(field):
        keywords.setdefault(f"min{what}", 1)
    if options[validation_pb2.unique]:
        keywords["uniqueItems"] = True
    return keywords


def _named(low_name: str, high_name: str, spec: str) -> dict[str, Any]:
    low, high = _bounds(spec)
    return {name: n for name, n in ((low_name, low), (high_name, high)) if n is not None}


def _bounds(spec: str) -> tuple[int | None, int | None]:
    """Reads `<=1000`, `>0`, `0-100` or one number; returns the least and the most, inclusive."""
    if not spec:
        return None, None
    parsed = _LIMIT.fullmatch(spec.replace(" ", ""))
    if not parsed:
        raise ValueError(f"not a limit: {spec!r}")
    low = int(parsed["low"])
    return {
        "<=": (None, low),
        "<": (None, low - 1),
        ">=": (low, None),
        ">": (low + 1, None),
        None: (low, int(parsed["high"] or low)),
    }[parsed["op"]]
