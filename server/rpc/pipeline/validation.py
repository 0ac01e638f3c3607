"""Checks of requests, compiled once for each message type from the options in the protos."""

import functools
import re
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any

import email_validator
from billing.options.v1 import format_pb2, required_fields_pb2
from google.api.field_behavior_pb2 import REQUIRED, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from yandex.cloud import validation_pb2

from contract.field_limits import Limit, limits_of
from server.domain.errors import BillingError, FieldViolation, invalid_fields
from server.domain.texts import is_plain, is_visible, printable, unfit
from server.rpc.formats import addresses
from server.rpc.formats.phones import is_phone

# Raises FIELDS_INVALID for a request that is wrong.
RequestCheck = Callable[[Any], object]
# A check takes a field's value, set or not, and returns what is wrong: path below it, description.
Wrong = Collection[tuple[str, str]]
Check = Callable[[Any], Wrong]
_OK: Wrong = ()

# Wrong fields that an error names.
MOST_NAMED = 50
# A pattern that is a list of words.
_ALTERNATIVES = re.compile(r"[\w-]+(?:\|[\w-]+)+")
# Of all numbers in protobuf.
_LEAST, _MOST = -(1 << 63), 1 << 64


def validate(request: Message, more: Iterable[RequestCheck] = ()) -> None:
    """Raises FIELDS_INVALID that names every wrong field at once.

    `more` raise it for what no option says. What is wrong by the options they do not see.
    """
    found = _message_check(request.DESCRIPTOR)(request)
    if not (found or more):
        return
    wrong = [FieldViolation(*each) for each in islice(found, MOST_NAMED)]
    if more:
        named = {path for path, _ in found}
        if wrong:
            request = _without(request, named)
        for check in more:
            try:
                check(request)
            except BillingError as error:
                wrong += [each for each in error.fields if not _is_within(each.field, named)]
    if wrong:
        raise invalid_fields(*wrong[:MOST_NAMED])


def _is_within(path: str, named: Collection[str]) -> bool:
    """Tells whether a field, or what it is a part of, is named already."""
    return path in named or any(path.startswith(f"{each}.") for each in named)


def _without(request: Message, paths: Iterable[str]) -> Message:
    """Returns a copy without the fields at these paths; without all elements where one is wrong."""
    rest = type(request)()
    rest.CopyFrom(request)
    for path in paths:
        message: Any = rest
        *outer, last = path.partition("[")[0].split(".")
        for name in outer:
            message = getattr(message, name)
        message.ClearField(last)
    return rest


@functools.cache
def _message_check(descriptor: Descriptor) -> Check:
    fields = [
        (field.name, field.has_presence, *_field_checks(field)) for field in descriptor.fields
    ]
    fields = [field for field in fields if any(field[2:])]

    def check(message: Any) -> Wrong:
        found: list[tuple[str, str]] = []
        for name, has_presence, bound, empty, checks in fields:
            value = getattr(message, name) if not has_presence or message.HasField(name) else None
            wrong = bound(value) if value and bound else _OK
            if wrong:
                # What is over its limit is looked at no closer: that could take long.
                found += [(name + path, description) for path, description in wrong]
                continue
            for each in checks if value else empty:
                wrong = each(value)
                if wrong:
                    found += [(name + path, description) for path, description in wrong]
        return found

    return check


def _both(one: Check, other: Check) -> Check:
    return lambda value: one(value) or other(value)


def _field_checks(field: FieldDescriptor) -> tuple[Check | None, list[Check], list[Check]]:
    """Returns the check of how large a field is, and the others: if it is not set or empty, if it is."""
    options = field.GetOptions().Extensions
    length, size, value = limits_of(field)
    text = field.type == FieldDescriptor.TYPE_STRING
    empty: list[Check] = []
    bound: Check | None = None
    checks: list[Check] = []
    if size:
        bound = _limit(size, len, "elements")
        empty.append(bound)
    if length:
        longest = _each(field, _limit(length, len, "characters long"))
        bound = _both(bound, longest) if bound else longest
    wanted = options[format_pb2.format]
    readable = text and wanted != format_pb2.FORMAT_OPAQUE
    required = options[validation_pb2.required] or REQUIRED in options[field_behavior]
    if required:
        empty.append(_required)
    if readable and not (required and field.is_repeated):
        fit = _fit_lines if wanted == format_pb2.FORMAT_LINES else _fit
        checks.append(_each(field, _readable(_required if required else _seen, fit)))
    elif required:
        checks.append(_required)
        if readable:
            checks.append(_each(field, _fit))
    if options[validation_pb2.pattern]:
        checks.append(_each(field, _pattern(options[validation_pb2.pattern])))
    if value:
        limit = _each(field, _limit(value, int, ""))
        empty.append(limit)
        checks.append(limit)
    if options[validation_pb2.unique]:
        checks.append(_unique)
    if wanted in _FORMATS:
        checks.append(_each(field, _FORMATS[wanted]))
    if field.message_type and not field.message_type.GetOptions().map_entry:
        checks.append(_nested(field))
    return bound, empty, checks


def _each(field: FieldDescriptor, check: Check) -> Check:
    """Applies a check to a field or to each element of a repeated one."""
    if not field.is_repeated:
        return check

    def elements(values: Any) -> Wrong:
        return [
            (f"[{index}]", description)
            for index, value in enumerate(values)
            for _, description in check(value)
        ]

    return elements


def _nested(field: FieldDescriptor) -> Check:
    needed = field.GetOptions().Extensions[required_fields_pb2.required_fields]

    def check_needed(value: Any) -> Wrong:
        """Finds those of the message's fields that are needed in this place alone."""
        empty = [name for name in needed if not getattr(value, name)]
        return [("." + name, "Required.") for name in empty]

    def check(value: Any) -> Wrong:
        inner = _message_check(field.message_type)
        if field.is_repeated:
            return [
                (f"[{index}].{path}", description)
                for index, element in enumerate(value)
                for path, description in inner(element)
            ]
        wrong = inner(value)
        found = [("." + path, description) for path, description in wrong] if wrong else _OK
        return [*check_needed(value), *found] if needed else found

    return check


def _required(value: Any) -> Wrong:
    blank = not is_visible(value) if isinstance(value, str) else value is None or value in (0, b"")
    return [("", "Required.")] if blank else _OK


def _readable(seen: Check, fit: Check) -> Check:
    """Makes the check of a text; nearly all of them are plain, and looked at no further."""

    def check(value: str) -> Wrong:
        return _OK if is_plain(value) else [*seen(value), *fit(value)]

    return check


def _seen(value: str) -> Wrong:
    if is_visible(value):
        return _OK
    return [("", "Must have a character that can be seen, or be left out.")]


def _fit(value: str) -> Wrong:
    wrong = unfit(value)
    return [("", wrong)] if wrong else _OK


def _fit_lines(value: str) -> Wrong:
    return _fit(value.replace("\r\n", "\n").replace("\n", ""))


def _limit(limit: Limit, measure: Callable[[Any], int], unit: str) -> Check:
    least = _LEAST if limit.least is None else limit.least
    most = _MOST if limit.most is None else limit.most
    wrong = [("", " ".join(f"Must be {limit.written} {unit}".split()) + ".")]

    def check(value: Any) -> Wrong:
        return _OK if least <= measure(value) <= most else wrong

    return check


def _pattern(pattern: str) -> Check:
    compiled = re.compile(pattern)
    wrong = f"Must match {pattern}"
    if _ALTERNATIVES.fullmatch(pattern):
        wrong = f"Must be one of {', '.join(pattern.split('|'))}."

    def check(value: str) -> Wrong:
        return _OK if compiled.fullmatch(value) else [("", wrong)]

    return check


def _unique(values: Any) -> Wrong:
    alike = len(set(values)) < len(values)
    return [("", "Elements must differ from one another.")] if alike else _OK


def _address(value: str) -> Wrong:
    if addresses.is_plain(value):
        return _OK
    try:
        addresses.parse(value)
    except email_validator.EmailNotValidError as error:
        return [("", f"Not an e-mail address: {printable(str(error))}")]
    return _OK


def _phone(value: str) -> Wrong:
    if is_phone(value):
        return _OK
    return [("", "Not a telephone number; write it like +7 495 123-45-67.")]


_FORMATS: dict[int, Check] = {format_pb2.FORMAT_EMAIL: _address, format_pb2.FORMAT_PHONE: _phone}
