"""Checks of requests, compiled once for each message type from the options in the protos."""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import email_validator
import phonenumbers
from billing.options.v1 import format_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from yandex.cloud import validation_pb2

from server.domain.errors import BillingError, FieldViolation, Reason

# A check takes a field's value, set or not, and yields what is wrong: path below it, description.
Check = Callable[[Any], Iterator[tuple[str, str]]]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PHONE = re.compile(r"\+?[0-9][0-9 ().\-/\u2010-\u2015]*((ext|x|доб)\.? ?[0-9]+)?", re.IGNORECASE)
_LIMIT = re.compile(r"(?P<op><=|>=|<|>)?(?P<low>-?\d+)(-(?P<high>-?\d+))?")
# Numbers written without a country are read as the published service would.
_HOME = "RU"


def validate(request: Message) -> None:
    """Raises FIELDS_INVALID that names every wrong field at once."""
    violations = [
        FieldViolation(path, description)
        for path, description in _message_check(request.DESCRIPTOR)(request)
    ]
    if violations:
        raise BillingError(
            Reason.FIELDS_INVALID, "The request has fields that are not valid.", fields=violations
        )


def normal_address(address: str) -> str:
    """Returns a checked e-mail address in normal form (Unicode NFC, domain in lower case)."""
    return _parse_address(address).normalized


@functools.cache
def _message_check(descriptor: Descriptor) -> Check:
    fields = [(field.name, field.has_presence, _field_checks(field)) for field in descriptor.fields]
    fields = [field for field in fields if field[2]]

    def check(message: Any) -> Iterator[tuple[str, str]]:
        for name, has_presence, checks in fields:
            value = getattr(message, name) if not has_presence or message.HasField(name) else None
            for each in checks:
                for path, description in each(value):
                    yield name + path, description

    return check


def _field_checks(field: FieldDescriptor) -> list[Check]:
    options = field.GetOptions().Extensions
    text = field.type == FieldDescriptor.TYPE_STRING
    checks: list[Check] = []
    if options[validation_pb2.required]:
        checks.append(_required)
    if text:
        checks.append(_each(field, _no_control))
    if options[validation_pb2.length]:
        checks.append(_each(field, _limit(options[validation_pb2.length], len, "characters long")))
    if options[validation_pb2.pattern]:
        checks.append(_each(field, _pattern(options[validation_pb2.pattern])))
    if options[validation_pb2.value]:
        checks.append(_each(field, _limit(options[validation_pb2.value], int, ""), zero=True))
    if options[validation_pb2.size]:
        checks.append(_limit(options[validation_pb2.size], len, "elements"))
    if options[validation_pb2.unique]:
        checks.append(_unique)
    wanted = options[format_pb2.format]
    if wanted in _FORMATS:
        checks.append(_each(field, _FORMATS[wanted]))
    if field.message_type and not field.message_type.GetOptions().map_entry:
        checks.append(_nested(field))
    return checks


def _each(field: FieldDescriptor, check: Check, *, zero: bool = False) -> Check:
    """Applies a check to a field that is set, or to each element of a repeated one."""
    if field.is_repeated:

        def elements(values: Any) -> Iterator[tuple[str, str]]:
            for index, value in enumerate(values):
                for _, description in check(value):
                    yield f"[{index}]", description

        return elements
    if zero:
        return check

    def present(value: Any) -> Iterator[tuple[str, str]]:
        return check(value) if value else iter(())

    return present


def _nested(field: FieldDescriptor) -> Check:
    def check(value: Any) -> Iterator[tuple[str, str]]:
        inner = _message_check(field.message_type)
        if field.is_repeated:
            for index, element in enumerate(value):
                for path, description in inner(element):
                    yield f"[{index}].{path}", description
        elif value is not None:
            for path, description in inner(value):
                yield f".{path}", description

    return check


def _required(value: Any) -> Iterator[tuple[str, str]]:
    blank = value.strip() == "" if isinstance(value, str) else value is None or value in (0, b"")
    if blank:
        yield "", "Required."


def _no_control(value: str) -> Iterator[tuple[str, str]]:
    found = _CONTROL.search(value)
    if found:
        yield "", f"Must not hold control characters (found U+{ord(found.group()):04X})."


def _limit(spec: str, measure: Callable[[Any], int], unit: str) -> Check:
    parsed = _LIMIT.fullmatch(spec.replace(" ", ""))
    if not parsed:
        raise ValueError(f"not a limit: {spec!r}")
    low, high = int(parsed["low"]), int(parsed["high"] or parsed["low"])
    test: Callable[[int], bool] = {
        "<=": lambda n: n <= low,
        ">=": lambda n: n >= low,
        "<": lambda n: n < low,
        ">": lambda n: n > low,
        None: lambda n: low <= n <= high,
    }[parsed["op"]]

    def check(value: Any) -> Iterator[tuple[str, str]]:
        if not test(measure(value)):
            yield "", " ".join(f"Must be {spec} {unit}".split()) + "."

    return check


def _pattern(pattern: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: str) -> Iterator[tuple[str, str]]:
        if not compiled.fullmatch(value):
            yield "", f"Must match {pattern}"

    return check


def _unique(values: Any) -> Iterator[tuple[str, str]]:
    if len(set(values)) < len(values):
        yield "", "Elements must differ from one another."


def _parse_address(address: str) -> email_validator.ValidatedEmail:
    # test_environment lets .test domains through; nothing is looked up in DNS.
    return email_validator.validate_email(
        address, check_deliverability=False, test_environment=True, strict=True
    )


def _address(value: str) -> Iterator[tuple[str, str]]:
    try:
        _parse_address(value)
    except email_validator.EmailNotValidError as error:
        yield "", f"Not an e-mail address: {_printable(str(error))}"


def _phone(value: str) -> Iterator[tuple[str, str]]:
    try:
        possible = _PHONE.fullmatch(value.strip()) and phonenumbers.is_possible_number(
            phonenumbers.parse(value, _HOME)
        )
    except phonenumbers.NumberParseException:
        possible = False
    if not possible:
        yield "", "Not a telephone number; write it like +7 495 123-45-67."


def _printable(text: str) -> str:
    return "".join(c if unicodedata.category(c)[0] != "C" else "?" for c in text)


_FORMATS: dict[int, Check] = {format_pb2.FORMAT_EMAIL: _address, format_pb2.FORMAT_PHONE: _phone}
