"""Plain addresses and numbers are passed without the libraries, which must agree."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.rpc.formats import addresses as mail
from server.rpc.formats import phones

_LETTERS = "az09-._+A"
_TOPS = st.sampled_from(
    ["com", "co.uk", "test", "local", "localhost", "arpa", "xn--p1ai", "c", "1"]
)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    local = draw(st.text(_LETTERS, min_size=1, max_size=66))
    labels = draw(st.lists(st.text(_LETTERS, min_size=1, max_size=64), min_size=1, max_size=5))
    return f"{local}@{'.'.join(labels)}.{draw(_TOPS)}"


@settings(max_examples=1000)
@given(addresses() | st.from_regex(mail._PLAIN, fullmatch=True))
def test_the_library_passes_every_plain_address_as_it_is(address: str) -> None:
    if mail.is_plain(address):
        assert mail.parse(address).normalized == address


@pytest.mark.parametrize(
    "address",
    [
        "ostap@example.com",
        "a.b-c_d+tag@mail.example.co.uk",
        "postmaster@1-2.example",
        "a" * 64 + "@example.com",
    ],
)
def test_ordinary_addresses_are_plain(address: str) -> None:
    assert mail.is_plain(address)


@pytest.mark.parametrize(
    "address",
    [
        "Ostap@example.com",
        "ostap@Example.com",
        "ostap@example.local",
        "ostap@example.test",
        "ostap@xn--e1afmkfd.com",
        "ostap@example",
        "a" * 65 + "@example.com",
        "a@" + "b" * 64 + ".com",
        "a@" + "b." * 125 + "com",
        "остап@example.com",
        "ostap@example.com\n",
    ],
)
def test_the_library_is_asked_about_all_other_addresses(address: str) -> None:
    assert not mail.is_plain(address)


@settings(max_examples=2000)
@given(
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.text("0123456789", min_size=5, max_size=14),
)
def test_the_library_passes_every_plain_number(code: int, rest: str) -> None:
    number = f"+{code}{rest}"
    if phones.is_plain(number):
        assert phonenumbers.is_possible_number(phonenumbers.parse(number, phones._DEFAULT_REGION))


@pytest.mark.parametrize("number", ["+74951234567", "+12025550123", "+4930123456", "+37255512345"])
def test_ordinary_numbers_are_plain(number: str) -> None:
    assert phones.is_plain(number)


@pytest.mark.parametrize("number", ["+7 495 1234567", "84951234567", "+7495123456", "+9991234567"])
def test_the_library_is_asked_about_all_other_numbers(number: str) -> None:
    assert not phones.is_plain(number)
