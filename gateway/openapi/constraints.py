"""JSON Schema keywords from the options of one field, as the server checks them."""

from typing import Any

from billing.options.v1 import format_pb2, required_fields_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from yandex.cloud import validation_pb2

from contract.field_limits import Limit, limits_of

# Patterns hold for ECMA 262 and mean the same to Python's `re`. The server looks closer at what is
# invisible: ZWNJ, ZWJ and their like may stand only where scripts need them.


def _above_ffff(*ranges: tuple[int, int]) -> str:
    """Returns a pattern of one character that is above U+FFFF and in one of the ranges.

    Without its flag `u`, as Swagger UI takes patterns, ECMA 262 reads such a character as two, and
    a range that begins with one is an error. So each range here begins at U+0000, and is cut short
    by a look ahead. Without the flag, the pattern matches nothing.
    """
    within = "|".join(
        f"(?=[^\\u0000-{chr(first - 1)}])[\\u0000-{chr(last)}]" for first, last in ranges
    )
    return f"(?=[^\\u0000-\\uffff])(?:{within})"


_REFUSED = (
    "\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ue000-\\uf8ff\\ufdd0-\\ufdef\\ufeff\\ufff0-\\ufffb\\ufffe\\uffff"
)
REFUSED_ABOVE = _above_ffff(
    (0xE0000, 0xE001F), (0xE0080, 0xE00FF), (0xE01F0, 0xE0FFF), (0xF0000, 0x10FFFF)
)
NONE_ABOVE = f"(?!.*{REFUSED_ABOVE})"
_BLANK = "\\s\\u001c-\\u001f\\u0085\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200d\\u2800\\u3164\\ufe00-\\ufe0f\\uffa0\\ufffc"
_BLANK_ABOVE = _above_ffff((0xE0100, 0xE01EF))
_NOT_ONLY_BLANK = f"(?!(?:[{_BLANK}]|{_BLANK_ABOVE})*$)"
NOT_BLANK = f"^{_NOT_ONLY_BLANK}{NONE_ABOVE}[^{_REFUSED}]*$"
# What may be left out, or be empty.
TEXT = f"^(?:{_NOT_ONLY_BLANK}{NONE_ABOVE}[^{_REFUSED}]+)?$"
LINES = f"^(?:{_NOT_ONLY_BLANK}(?:(?!{REFUSED_ABOVE})[^{_REFUSED}]|\\r?\\n)+)?$"
SOME_TEXT = f"(?!{_BLANK_ABOVE})[^{_BLANK}]"
# One piece of a resource's name.
SEGMENT = f"^{NONE_ABOVE}[^/{_REFUSED}]+$"
LONGEST_SEGMENT = 50
# A digit, before any word; the server asks Google's library.
_DIGIT = "[0-9\\u0660-\\u0669\\u06f0-\\u06f9\\u0966-\\u096f\\uff10-\\uff19]"
PHONE = f"(?:[tT][eE][lL]|[тТ][еЕ][лЛ])?[^a-zA-Z]*{_DIGIT}.*$"
_EMAIL = "[^\\s@]+@[^\\s@]+$"


def is_required(field: FieldDescriptor) -> bool:
    """Tells whether a request without the field is refused."""
    options = field.GetOptions().Extensions
    behaviour = options[field_behavior_pb2.field_behavior]
    return options[validation_pb2.required] or field_behavior_pb2.REQUIRED in behaviour


def of_text(field: FieldDescriptor, *, in_request: bool, is_needed: bool = False) -> dict[str, Any]:
    """Returns the keywords of a string; `in_request` if a caller sends it.

    is_needed: a request without it is refused, though the field itself does not say so.
    """
    options = field.GetOptions().Extensions
    # An element that is empty is refused, where the whole field may be left out.
    required = in_request and (is_needed or is_required(field) or field.is_repeated)
    length = limits_of(field).length
    least, most = (length.least, length.most) if length else (None, None)
    keywords: dict[str, Any] = {}
    if options[format_pb2.format] == format_pb2.FORMAT_EMAIL:
        # One schema for both: of alternatives, generators make classes in the place of a text.
        if required:
            keywords["format"] = "email"
        else:
            longest = f"(?!.{{{most + 1}}})" if most else ""
            keywords |= {"format": "email-or-empty", "pattern": f"^$|^{longest}{_EMAIL}"}
            most = None  # as for telephone numbers
    elif options[format_pb2.format] == format_pb2.FORMAT_PHONE:
        pattern = f"^(?!.{{{most + 1}}}){PHONE}" if most else f"^{PHONE}"
        keywords |= {"format": "phone", "pattern": pattern if required else f"^$|{pattern}"}
        most = None  # tools that make numbers of their own heed the format by itself alone
    elif options[format_pb2.format] == format_pb2.FORMAT_OPAQUE:
        keywords |= {"pattern": SOME_TEXT} if required else {}
    elif options[format_pb2.format] == format_pb2.FORMAT_LINES:
        keywords |= {"pattern": LINES} if in_request else {}
    elif options[validation_pb2.pattern]:
        keywords["pattern"] = f"^(?:{options[validation_pb2.pattern]})$"
    elif in_request:
        keywords["pattern"] = NOT_BLANK if required else TEXT
    if required:
        keywords["minLength"] = max(least or 0, 1)
    if most is not None:
        keywords["maxLength"] = most
    return keywords


def required_parts(field: FieldDescriptor) -> frozenset[str]:
    """Returns the names of the texts that a message must have where it stands in this field."""
    return frozenset(field.GetOptions().Extensions[required_fields_pb2.required_fields])


def of_number(field: FieldDescriptor) -> dict[str, Any]:
    """Returns the keywords of a number by its `value` option."""
    return _named("minimum", "maximum", limits_of(field).value)


def of_elements(field: FieldDescriptor) -> dict[str, Any]:
    """Returns the keywords of a repeated field or a map."""
    options = field.GetOptions().Extensions
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    what = "Properties" if is_map else "Items"
    keywords = _named(f"min{what}", f"max{what}", limits_of(field).size)
    if is_required(field):
        keywords.setdefault(f"min{what}", 1)
    if options[validation_pb2.unique]:
        keywords["uniqueItems"] = True
    return keywords


def _named(least_name: str, most_name: str, limit: Limit | None) -> dict[str, Any]:
    bounds = ((least_name, limit.least), (most_name, limit.most)) if limit else ()
    return {name: bound for name, bound in bounds if bound is not None}
