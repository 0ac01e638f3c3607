"""Whose word counts about where a call comes from."""

import logging

import pytest

from server.rpc.pipeline.caller_address import CallerAddresses

GATEWAYS = ("10.0.0.0/24", "2001:db8:1::/64")


@pytest.mark.parametrize(
    ("peer", "said", "counts"),
    [
        ("unix:", "192.0.2.7", "192.0.2.7"),
        ("ipv4:127.0.0.1:40000", "192.0.2.7", "192.0.2.7"),
        ("ipv6:%5B::1%5D:40000", "192.0.2.7", "192.0.2.7"),
        ("ipv6:[::ffff:127.0.0.1]:40000", "192.0.2.7", "192.0.2.7"),
        ("ipv4:10.0.0.9:40000", "192.0.2.7", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1::9%5D:40000", "2001:db8:2:3:4::5", "2001:db8:2:3::/64"),
        ("ipv4:10.0.0.9:40000", "198.51.100.7, 192.0.2.7", "192.0.2.7"),
        ("ipv4:10.0.0.9:40000", "nonsense", "10.0.0.9"),
        ("ipv4:10.0.0.9:40000", "", "10.0.0.9"),
        ("ipv4:10.0.1.9:40000", "192.0.2.7", "10.0.1.9"),
        ("ipv4:203.0.113.5:40000", "127.0.0.1", "203.0.113.5"),
        ("ipv6:%5B2001:db8:5:6:7::8%5D:40000", "192.0.2.7", "2001:db8:5:6::/64"),
        ("unix:", "", "unix"),
    ],
)
def test_gateways_are_believed_and_nobody_else(peer: str, said: str, counts: str) -> None:
    assert CallerAddresses(GATEWAYS).of({"x-forwarded-for": said} if said else {}, peer) == counts


def test_a_gateway_that_is_not_listed_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    addresses = CallerAddresses()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            addresses.of({"x-forwarded-for": "192.0.2.7"}, "ipv4:10.0.0.9:40000")
            addresses.of({}, "ipv4:10.0.0.8:40000")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "BILLING_TRUSTED_PROXIES" in line
    assert "192.0.2.7" not in line
