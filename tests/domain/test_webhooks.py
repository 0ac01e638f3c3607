"""URLs that webhooks may have, and the addresses that names may lead to."""

from ipaddress import ip_address

import pytest

from server.domain.webhooks import LONGEST_URL, is_public, url_fault


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.0.1"),
        *("192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"),
        *("224.0.0.1", "255.255.255.255", "192.88.99.1", "::", "::1", "::ffff:8.8.8.8"),
        *("::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:0808:0808::1"),
        *("2001:0:4136:e378::1", "2001:db8::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1"),
        *("100::1", "3fff::1", "::8.8.8.8", "5f00::1"),
    ],
)
def test_addresses_that_nothing_is_sent_to(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://example.com",
            "https://example.com/hook?a=b",
            "https://a-b.example.co.uk:8443/x",
        ),
        *("https://8.8.8.8/hook", "https://[2606:4700::1111]/", "https://xn--e1aybc.xn--p1ai/"),
        *("https://EXAMPLE.com./hook", "https://example.com/%D1%85"),
    ],
)
def test_urls_of_receivers_are_accepted(url: str) -> None:
    assert url_fault(url, private_allowed=False) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "//example.com", "https://", "https:///hook", "ftp://example.com/"),
        *("http://example.com/", "javascript:alert(1)", "file:///etc/passwd", "https://localhost/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://017700000001/"),
        *("https://127.1/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/"),
        *("https://user:secret@example.com/", "https://user@example.com/", "https://@example.com/"),
        *("https://example.com/#there", "https://exa mple.com/", "https://example.com:0/"),
        *(
            "https://example.com:99999/",
            "https://пример.рф/",
            "https://example.com\\@evil.example/",
        ),
        *("https://example.com/\n", "https://[fe80::1%25eth0]/", "https://intranet/"),
        "https://example.com/" + "x" * LONGEST_URL,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    for private_allowed in (False, True):
        if private_allowed and url.split("/")[2:3] in (["localhost"], ["127.0.0.1"], ["[::1]"]):
            continue
        assert url_fault(url, private_allowed=private_allowed)


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/hook", "http://127.0.0.1/", "https://[::1]:1/"]
)
def test_this_machine_may_be_named_for_development_alone(url: str) -> None:
    assert url_fault(url, private_allowed=True) is None
    assert url_fault(url, private_allowed=False)
