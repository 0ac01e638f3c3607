"""Nothing that one request can hold keeps the event loop for long: the worst of each kind.

CPU time of this thread, the least of several tries, so that what else runs here does not count,
beside plain counting in the same run, so that a slow machine does not either.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_service_pb2
from google.protobuf.message import DecodeError, Message
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from server.domain.errors import BillingError
from server.languages import negotiate
from server.rpc.formats.addresses import normal_address
from server.rpc.formats.phones import LONGEST, to_e164
from server.rpc.messages import paging
from server.rpc.messages.filters import MOST_CHARACTERS
from server.rpc.messages.invitation_lists import wanted_invitations
from server.rpc.messages.operations import parse_operation_filter
from server.rpc.pipeline.pipeline import MAX_FORM_BYTES
from server.rpc.pipeline.validation import validate

# As long as counting this far takes: 20 ms where Python counts to 75 million in a second.
LIMIT = 1_500_000
# Enough of it to be measured.
_COUNTED = 75_000
MB = 1 << 20
HEADERS = 36 << 10


def _count() -> None:
    for _ in range(_COUNTED):
        pass


def cost(run: Callable[[], object]) -> float:
    """Returns how far one can count in the time that it takes, whether it is refused or not."""

    def once(run: Callable[[], object]) -> float:
        began = time.thread_time()
        with suppress(BillingError, DecodeError, ValueError):
            run()
        return time.thread_time() - began

    times = [(once(run), once(_count)) for _ in range(5)]
    return _COUNTED * min(took for took, _ in times) / min(counting for _, counting in times)


def read(type_: type[Message], raw: bytes) -> None:
    request = type_.FromString(raw)
    with suppress(BillingError):
        validate(request)
    request.SerializeToString(deterministic=True)


BYTES = {
    "unknown fields": b"\xf8\x07\x00" * (MB // 3),
    "one message over and over": b"\x22\x00" * (MB // 2),
    "one text over and over": b"\x12\x01a" * (MB // 3),
    "unknown groups": (b"\x7b" * 50 + b"\x7c" * 50) * (MB // 100),
    "unknown groups, deep": b"\x7b" * (MB // 2) + b"\x7c" * (MB // 2),
    "a long text": b"\x12\x80\x80\x40" + b"\xcc\x81" * (MB // 2),
    "not UTF-8 at the end": b"\x12\x80\x80\x40" + b"a" * (MB - 1) + b"\xff",
}


@pytest.mark.parametrize("raw", BYTES.values(), ids=BYTES)
def test_a_megabyte_of_protobuf_costs_little(raw: bytes) -> None:
    assert cost(lambda: read(customers.InviteCustomerRequest, raw)) < LIMIT


def test_a_form_with_as_many_extensions_as_fit_costs_little() -> None:
    raw = b"\x12\xff\xff\x03" + b"\x1a\x00" * ((MAX_FORM_BYTES - 5) // 2) + b"\x08\x00"
    assert cost(lambda: read(pages.AnswerInvitationPageRequest, raw)) < LIMIT


LETTERS = {
    "marks": "\u0301", "decomposing": "\u0344", "blank": "\u2800", "zero width": "\u200b",
    "ligature": "\ufdfa", "emoji": "\U0001f600", "joined": "क्‍", "notes": "\U0001d15e",
    "joined emoji": "❤️‍", "control": "\x00", "word": "a",
}  # fmt: skip


@pytest.mark.parametrize("letters", LETTERS.values(), ids=LETTERS)
@pytest.mark.parametrize("at_limit", [True, False])
def test_the_worst_text_of_every_field_costs_little(letters: str, at_limit: bool) -> None:
    """At their limits, where all is looked at, and as long as a megabyte allows."""
    size = MB // 11 // len(letters.encode())

    def text(longest: int) -> str:
        return (letters * 4096)[:longest] if at_limit else letters * size

    person = customers.CustomerPerson(
        name=text(1024), longname=text(1024), phone=text(64), email=text(242) + "@example.com",
        post_code=text(64), post_address=text(4096), legal_address=text(4096), tin=text(64),
    )  # fmt: skip
    request = customers.InviteCustomerRequest(
        reseller_id="r",
        name=text(1024),
        invitation_email=text(242) + "@example.com",
        person=person,
    )
    assert cost(lambda: validate(request)) < LIMIT


ADDRESSES = {
    "marks": "a" + "\u0301" * 240 + "@example.com",
    "labels": "a@" + "a." * 120 + "com",
    "labels in another script": "я@" + "ы." * 120 + "рф",
    "A-labels": "a@" + "xn--a." * 40 + "com",
    "no end": "a" * 253 + "!",
    "dots and dashes": "a" + ".a" * 30 + "@" + "a-" * 90 + "a.com",
    "one long label": "a@" + "ü" * 240 + ".com",
    "right to left": "a@" + "א" * 60 + "." + "א" * 60 + ".com",
    "quoted": '"' + "a\\ " * 60 + '"@example.com',
    "only signs": "@" * 254,
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_the_worst_address_costs_little(address: str) -> None:
    assert cost(lambda: normal_address(address)) < LIMIT


@pytest.mark.parametrize(
    "piece", ["(", "1-", "1 ", "1a", "+1 800 a ", "1 x1", "1;ext", "\ufdfa", "٣"]
)
def test_the_worst_telephone_number_costs_little(piece: str) -> None:
    assert cost(lambda: to_e164((piece * LONGEST)[:LONGEST])) < LIMIT


@pytest.mark.parametrize(
    "piece",
    [
        *("state = PENDING AND ", 'email = "', "\\", " ", " AND", "=", "a", "done ", "not "),
        *("(", ")", "-(", "NOT (", "done OR ", "-done", "'", "(done ", "done:true OR NOT ("),
    ],
)
@pytest.mark.parametrize("begin", ["", 'email = "', "done"])
def test_the_worst_filter_costs_little(begin: str, piece: str) -> None:
    text = (begin + piece * MOST_CHARACTERS)[:MOST_CHARACTERS]
    request = invitation_service_pb2.ListInvitationsRequest(parent="resellers/r", filter=text)
    assert cost(lambda: wanted_invitations(request)) < LIMIT / 2
    assert cost(lambda: parse_operation_filter(text)) < LIMIT / 2


@pytest.mark.parametrize("piece", ["en,", "en;q=0.1,", ";", "a-", "*,", "en;q=" + "0" * 1000, " "])
def test_the_worst_list_of_languages_costs_little(piece: str) -> None:
    header = (piece * HEADERS)[:HEADERS]
    assert cost(lambda: negotiate(header)) < LIMIT


@pytest.mark.parametrize("begin", ["en", "en;", "en;q=0.1", "en-a"])
def test_the_worst_language_costs_little(begin: str) -> None:
    header = f"{begin}{' ' * HEADERS}x"
    assert cost(lambda: negotiate(header)) < LIMIT


def test_the_worst_page_token_costs_little() -> None:
    pages_ = paging.Pages(lambda _: [b"k" * 32] * 100)
    assert cost(lambda: pages_.cursor("A" * 100, "list")) < LIMIT
