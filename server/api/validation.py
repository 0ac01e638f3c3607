"""Checks of requests, compiled once for each message type from the options in the protos."""

import functools
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import email_validator
import phonenumbers
from billing.options.v1 import format_pb2
from google.api.field_behavior_pb2 import REQUIRED, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from yandex.cloud import validation_pb2

from server.domain.errors import BillingError, FieldViolation, Reason

# A check takes a field's value, set or not, and returns what is wrong: path below it, description.
Wrong = Collection[tuple[str, str]]
Check = Callable[[Any], Wrong]
_FINE: Wrong = ()

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PHONE = re.compile(r"\+?[0-9][0-9 ().\-/\u2010-\u2015]*((ext|x|доб)\.? ?[0-9]+)?", re.IGNORECASE)
_LEAST, _MOST = -(1 << 63), 1 << 64  # of all numbers in protobuf
_LIMIT = re.compile(r"(?P<op><=|>=|<|>)?(?P<low>-?\d+)(-(?P<high>-?\d+))?")
# Numbers written without a country are read as the published service would.
_HOME = "RU"

# Plain addresses: the library, asked, finds nothing to say about these and gives them back as they
# are. It takes fifty times as long to do so.
_PLAIN_ADDRESS = re.compile(
    r"(?P<local>[a-z0-9_+-]+(\.[a-z0-9_+-]+)*)"
    r"@(?!.*--)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(?P<top>[a-z]{2,63})"
)
_SPECIAL_TOPS = {name.rpartition(".")[2] for name in email_validator.SPECIAL_USE_DOMAIN_NAMES}
_LONGEST_ADDRESS = 254
_LONGEST_LOCAL_PART = 64
_PLAIN_PHONE = re.compile(r"\+[1-9][0-9]{7,14}")


def validate(request: Message) -> None:
    """Raises FIELDS_INVALID that names every wrong field at once."""
    wrong = _message_check(request.DESCRIPTOR)(request)
    if wrong:
        raise BillingError(
            Reason.FIELDS_INVALID,
            "The request has fields that are not valid.",
            fields=[FieldViolation(path, description) for path, description in wrong],
        )


def normal_address(address: str) -> str:
    """Returns a checked e-mail address in normal form (Unicode NFC, domain in lower case)."""
    return address if _is_plain_address(address) else _parse_address(address).normalized


def address_or_none(text: str) -> str | None:
    """Returns an e-mail address in normal form; None for what is no address."""
    try:
        return normal_address(text)
    except email_validator.EmailNotValidError:
        return None


@functools.cache
def _message_check(descriptor: Descriptor) -> Check:
    fields = [
        (field.name, field.has_presence, *_field_checks(field)) for field in descriptor.fields
    ]
    fields = [field for field in fields if any(field[2:])]

    def check(message: Any) -> Wrong:
        found = []
        for name, has_presence, empty, checks in fields:
            value = getattr(message, name) if not has_presence or message.HasField(name) else None
            for each in checks if value else empty:
                wrong = each(value)
                if wrong:
                    found += [(name + path, description) for path, description in wrong]
        return found

    return check


def _field_checks(field: FieldDescriptor) -> tuple[list[Check], list[Check]]:
    """Returns the checks of a field that is empty or not set, and of one that is."""
    options = field.GetOptions().Extensions
    text = field.type == FieldDescriptor.TYPE_STRING
    empty: list[Check] = []
    checks: list[Check] = []
    if options[validation_pb2.required] or REQUIRED in options[field_behavior]:
        empty.append(_required)
        checks.append(_required)
    wanted = options[format_pb2.format]
    if text and wanted != format_pb2.FORMAT_OPAQUE:
        checks.append(_each(field, _no_control))
    if options[validation_pb2.length]:
        checks.append(_each(field, _limit(options[validation_pb2.length], len, "characters long")))
    if options[validation_pb2.pattern]:
        checks.append(_each(field, _pattern(options[validation_pb2.pattern])))
    if options[validation_pb2.value]:
        limit = _each(field, _limit(options[validation_pb2.value], int, ""))
        empty.append(limit)
        checks.append(limit)
    if options[validation_pb2.size]:
        limit = _limit(options[validation_pb2.size], len, "elements")
        empty.append(limit)
        checks.append(limit)
    if options[validation_pb2.unique]:
        checks.append(_unique)
    if wanted in _FORMATS:
        checks.append(_each(field, _FORMATS[wanted]))
    if field.message_type and not field.message_type.GetOptions().map_entry:
        checks.append(_nested(field))
    return empty, checks


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
    def check(value: Any) -> Wrong:
        inner = _message_check(field.message_type)
        if field.is_repeated:
            return [
                (f"[{index}].{path}", description)
                for index, element in enumerate(value)
                for path, description in inner(element)
            ]
        wrong = inner(value)
        return [("." + path, description) for path, description in wrong] if wrong else _FINE

    return check


def _required(value: Any) -> Wrong:
    blank = value.strip() == "" if isinstance(value, str) else value is None or value in (0, b"")
    return [("", "Required.")] if blank else _FINE


def _no_control(value: str) -> Wrong:
    found = None if value.isprintable() else _CONTROL.search(value)
    if not found:
        return _FINE
    return [("", f"Must not hold control characters (found U+{ord(found.group()):04X}).")]


def _limit(spec: str, measure: Callable[[Any], int], unit: str) -> Check:
    parsed = _LIMIT.fullmatch(spec.replace(" ", ""))
    if not parsed:
        raise ValueError(f"not a limit: {spec!r}")
    bound = int(parsed["low"])
    low, high = {
        "<=": (_LEAST, bound),
        ">=": (bound, _MOST),
        "<": (_LEAST, bound - 1),
        ">": (bound + 1, _MOST),
        None: (bound, int(parsed["high"] or bound)),
    }[parsed["op"]]
    wrong = [("", " ".join(f"Must be {spec} {unit}".split()) + ".")]

    def check(value: Any) -> Wrong:
        return _FINE if low <= measure(value) <= high else wrong

    return check


def _pattern(pattern: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: str) -> Wrong:
        return _FINE if compiled.fullmatch(value) else [("", f"Must match {pattern}")]

    return check


def _unique(values: Any) -> Wrong:
    alike = len(set(values)) < len(values)
    return [("", "Elements must differ from one another.")] if alike else _FINE


def _is_plain_address(address: str) -> bool:
    plain = _PLAIN_ADDRESS.fullmatch(address)
    return (
        plain is not None
        and len(address) <= _LONGEST_ADDRESS
        and len(plain["local"]) <= _LONGEST_LOCAL_PART
        and plain["top"] not in _SPECIAL_TOPS
    )


def _parse_address(address: str) -> email_validator.ValidatedEmail:
    # test_environment lets .test domains through; nothing is looked up in DNS.
    return email_validator.validate_email(
        address, check_deliverability=False, test_environment=True, strict=True
    )


def _address(value: str) -> Wrong:
    if _is_plain_address(value):
        return _FINE
    try:
        _parse_address(value)
    except email_validator.EmailNotValidError as error:
        return [("", f"Not an e-mail address: {_printable(str(error))}")]
    return _FINE


def _is_plain_phone(value: str) -> bool:
    plain = _PLAIN_PHONE.fullmatch(value)
    return plain is not None and _is_possible_length(value[1:4], len(value) - 1)


@functools.lru_cache(maxsize=8192)
def _is_possible_length(first_three: str, digits: int) -> bool:
    """Tells whether a number of so many digits, calling code and all, can begin so."""
    for size in (1, 2, 3):
        code = int(first_three[:size])
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code)
        if regions:
            facts = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
            described = facts.general_desc if facts else None
            return described is not None and digits - size in described.possible_length
    return False


def _phone(value: str) -> Wrong:
    if _is_plain_phone(value):
        return _FINE
    try:
        possible = _PHONE.fullmatch(value.strip()) and phonenumbers.is_possible_number(
            phonenumbers.parse(value, _HOME)
        )
    except phonenumbers.NumberParseException:
        possible = False
    return _FINE if possible else [("", "Not a telephone number; write it like +7 495 123-45-67.")]


def _printable(text: str) -> str:
    return "".join(c if unicodedata.category(c)[0] != "C" else "?" for c in text)


_FORMATS: dict[int, Check] = {format_pb2.FORMAT_EMAIL: _address, format_pb2.FORMAT_PHONE: _phone}
