"""When two e-mail addresses are the same; what they are normalised to is in tests/rpc."""

import pytest

from server.domain.addresses import address_key
from server.rpc.formats.addresses import normal_address


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ivan@Example.com", "iVAN@eXAMPLE.COM"),
        ("ИВАН@ПРИМЕР.РФ", "иван@xn--e1afmkfd.XN--p1ai"),
        ("info@straße9.example", "info@XN--strae9-eta.example"),
        ("info@STRAßE9.example", "info@straße9.example"),
        ("info@bücher.example", "info@bu\N{COMBINING DIAERESIS}cher.example"),
        ("a@ｅｘａｍｐｌｅ.com", "a@example。com"),
        (
            "jose\N{COMBINING ACUTE ACCENT}@example.com",
            "JOS\N{LATIN CAPITAL LETTER E WITH ACUTE}@example.com",
        ),
        ("WEI\N{LATIN CAPITAL LETTER SHARP S}@example.com", "weiß@example.com"),
        ("ΝΙΚΟΣ@example.com", "νικος@example.com"),
        ("νικοσ@example.com", "νικος@example.com"),
    ],
)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert address_key(normal_address(one)) == address_key(normal_address(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("info@straße9.example", "info@strasse9.example"),
        ("info@faß.de", "info@fass.de"),
        ("info@βόλος.example", "info@βόλοσ.example"),
        ("weiß@example.com", "weiss@example.com"),
        ("ivan.petrov@example.com", "ivanpetrov@example.com"),
        ("ivan+a@example.com", "ivan@example.com"),
        ("ı@example.com", "i@example.com"),
        ("a@bücher.example", "a@bucher.example"),
    ],
)
def test_two_addresses_have_two_keys(one: str, other: str) -> None:
    assert address_key(normal_address(one)) != address_key(normal_address(other))


def test_domains_are_compared_as_the_a_labels_that_dns_knows() -> None:
    assert address_key("Инфо@bücher.пример") == "инфо@xn--bcher-kva.xn--e1afmkfd"
