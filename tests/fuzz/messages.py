"""Protobuf messages as bytes: what fits the descriptors, what nearly does, and what does not."""

from functools import reduce

from billing.options.v1 import format_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st
from yandex.cloud import validation_pb2

from tests.fuzz.inputs import Known

Bytes = st.SearchStrategy[bytes]
Text = st.SearchStrategy[str]

_VARINT, _FIXED64, _DELIMITED, _GROUP, _END_GROUP, _FIXED32 = 0, 1, 2, 3, 4, 5
_HUGE = (4_000, 66_000, 300_000, 1_100_000)

# Text that programs have stumbled over.
ODD_TEXT: Text = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Co", "Mn"]), max_size=8),
    st.sampled_from(
        [
            "\0",
            "a\0b",
            " ",
            "\ufeff",
            "\u202e",
            "\u0600" * 30,
            "' OR 1=1 --",
            "{{7*7}}",
            "../../etc/passwd",
            "operations/",
            "operations/a/b",
            "a@b",
            "x@xn--a.com",
            '"a b"@example.com',
            "a@[127.0.0.1]",
            "a@" + "b" * 64 + ".com",
            "done = true",
            "NOT done",
            "done=",
            "+7" + "1" * 40,
            "٠١٢",
            "ext. 5",
            "İ",
            "ﬀ@example.com",
        ]
    ),
    st.builds(
        lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(1, 200)
    ),
)
_NOT_UTF8: Bytes = st.one_of(
    st.sampled_from([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xe2\x82", b"\xf4\x90\x80\x80"]),
    st.binary(min_size=1, max_size=20),
)


def varint(number: int) -> bytes:
    """Returns a number as protobuf writes it; negative ones in ten bytes."""
    number %= 1 << 64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | _DELIMITED) + varint(len(payload)) + payload


def good_text(field: FieldDescriptor, known: Known) -> Text:
    """Returns values that the service should take for a field."""
    options = field.GetOptions().Extensions
    wanted = options[format_pb2.format]
    if wanted == format_pb2.FORMAT_EMAIL:
        return st.integers(0, 10**9).map("fuzz-{}@example.com".format)
    if wanted == format_pb2.FORMAT_PHONE:
        return st.sampled_from(["+7 495 123-45-67", "8 (812) 555 44 33 доб. 5", "+442079460000"])
    if field.full_name.startswith("google.longrunning.") and field.name == "name":
        return st.sampled_from(
            ["operations"] + [f"operations/{one}" for one in known.operation_ids]
        )
    named: dict[str, list[str]] = {
        "reseller_id": [known.reseller_id],
        "operation_id": list(known.operation_ids),
        "customer_id": list(known.customer_ids),
        "api_endpoint_id": ["billing", "endpoint", "iam", "operation"],
        "filter": ["", "done = true", "done=false", "NOT done"],
        "page_token": [""],
        "token": list(known.link_tokens),
        "jwt": [known.jwt],
        "iam_token": [known.iam_token],
        "yandex_passport_oauth_token": [""],
    }
    if field.name in named:
        return st.sampled_from(named[field.name])
    return st.text(st.characters(categories=["L", "N"], codec="utf-8"), min_size=1, max_size=20)


def is_needed(field: FieldDescriptor) -> bool:
    """Whether a call without the field is refused."""
    extensions = field.GetOptions().Extensions
    behaviours = extensions[field_behavior_pb2.field_behavior]
    named = field.full_name.startswith("google.longrunning.") and field.name == "name"
    return named or extensions[validation_pb2.required] or field_behavior_pb2.REQUIRED in behaviours


def messages(descriptor: Descriptor, known: Known) -> Bytes:
    """Returns bytes for a message: as it should be, nearly so, and anything."""
    good = _message(descriptor, known, odd=False, depth=0)
    odd = _message(descriptor, known, odd=True, depth=0)
    return st.one_of(
        good,
        odd,
        odd,
        st.builds(mutate, good, edits(_FRAGMENTS)),
        st.builds(lambda known_, unknown: known_ + unknown, good, _unknown()),
        st.binary(max_size=200),
    )


def _message(descriptor: Descriptor, known: Known, *, odd: bool, depth: int) -> Bytes:
    fields = [_field(field, known, odd=odd, depth=depth) for field in descriptor.fields]
    return st.tuples(*fields).map(b"".join)


def _field(field: FieldDescriptor, known: Known, *, odd: bool, depth: int) -> Bytes:
    good = _good(field, known, depth)
    if odd:
        return st.one_of(good, good, st.just(b""), _odd(field, depth))
    return good if is_needed(field) else st.one_of(st.just(b""), good)


def _good(field: FieldDescriptor, known: Known, depth: int) -> Bytes:
    number = field.number
    if field.type == FieldDescriptor.TYPE_STRING:
        return good_text(field, known).map(lambda text: _delimited(number, text.encode()))
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if depth > 3 or field.message_type.full_name == "google.protobuf.Duration":
            return st.sampled_from([b"", _delimited(number, b"")])
        inner = _message(field.message_type, known, odd=False, depth=depth + 1)
        return inner.map(lambda payload: _delimited(number, payload))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=50).map(lambda payload: _delimited(number, payload))
    return st.integers(0, 1).map(lambda value: varint(number << 3) + varint(value))


def _odd(field: FieldDescriptor, depth: int) -> Bytes:
    number = field.number

    def numbered(payload: bytes) -> bytes:
        return _delimited(number, payload)

    return st.one_of(
        ODD_TEXT.map(str.encode).map(numbered),
        _NOT_UTF8.map(numbered),
        st.sampled_from(_HUGE).map(lambda size: numbered(b"a" * size)),
        st.integers(-(2**63), 2**64 - 1).map(lambda n: varint(number << 3) + varint(n)),
        st.just(varint(number << 3) + b"\xff" * 11),
        st.just(varint(number << 3 | _FIXED32) + b"abcd"),
        st.just(varint(number << 3 | _FIXED64) + b"abcdefgh"),
        st.just(varint(number << 3 | _GROUP) + varint(number << 3 | _END_GROUP)),
        st.just(varint(number << 3 | _GROUP)),
        st.just(varint(number << 3 | _DELIMITED) + varint(2**31)),
        # Messages in messages, deeper than any parser goes.
        st.sampled_from([10, 99, 101, 5000]).map(lambda times: _nested(number, times)),
    )


def _nested(number: int, times: int) -> bytes:
    return reduce(lambda payload, _: _delimited(number, payload), range(times), b"")


def _unknown() -> Bytes:
    """Fields that no message has."""
    return st.builds(
        lambda number, payload, times: _delimited(number, payload) * times,
        st.sampled_from([15, 19_000, 101_501, 2**29 - 1]),
        st.binary(max_size=30),
        st.sampled_from([1, 1, 1, 5_000]),
    )


Edit = tuple[int, int, bytes]
_FRAGMENTS: tuple[bytes, ...] = (b"\0", b"\xff", b"\x80", b"\x0a\x02", b"\xff\xff\xff\xff\x0f", b"")


def edits(fragments: tuple[bytes, ...]) -> st.SearchStrategy[list[Edit]]:
    """Returns changes of a text: where, how many bytes go, what comes in their place."""
    return st.lists(
        st.tuples(
            st.integers(0, 2_000),
            st.sampled_from([0, 0, 1, 2, 7]),
            st.one_of(st.sampled_from(fragments), st.binary(max_size=3)),
        ),
        min_size=1,
        max_size=5,
    )


def mutate(text: bytes, changes: list[Edit]) -> bytes:
    """Applies the changes, each to what the ones before it left."""
    for at, length, fragment in changes:
        place = at % (len(text) + 1)
        text = text[:place] + fragment + text[place + length :]
    return text
