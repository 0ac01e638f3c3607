"""Webhooks, and where they may lead: to public addresses over TLS, never into the operator's network."""

import re
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

LONGEST_URL = 2048


class WebhookState(StrEnum):
    """Whether events are sent to a webhook."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class ContentType(StrEnum):
    """What deliveries say that they are; the body is the same.

    Several well-known receivers hand their program an empty body for the first.
    """

    CLOUDEVENTS = "application/cloudevents+json"
    JSON = "application/json"


class Webhook(NamedTuple):
    """An address that a reseller's events are sent to.

    types: the types of events, by name; empty for all.
    disable_reason: why it is disabled, "" while it is not.
    verified: it has answered a `webhook.test` with success since it has its URL; nothing else is sent
        before.
    last_success_at: when it last answered a delivery with success.
    revision: grows with each change of what its reseller sets; the etag is made of it.
    """

    id: str
    reseller_id: str
    url: str
    types: tuple[str, ...]
    description: str
    content_type: ContentType
    alert_email: str | None
    state: WebhookState
    disable_reason: str
    created_at: datetime
    updated_at: datetime
    revision: int = 1
    verified: bool = False
    last_success_at: datetime | None = None


# What the registries of special-purpose addresses (RFC 6890 and its updates) keep from the public.
_NOT_PUBLIC = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
]
# All other IPv6 is private, link-local, multicast, mapped or translated (NAT64) from IPv4, or unassigned.
_PUBLIC_IPV6 = ip_network("2000::/3")

_HOST = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tells whether an address is one of the public internet."""
    if address.version == 6 and address not in _PUBLIC_IPV6:
        return False
    return not any(address in each for each in _NOT_PUBLIC if each.version == address.version)


def url_fault(url: str, *, private_allowed: bool) -> str | None:
    """Returns why no events may be sent to a URL, None where they may.

    With `private_allowed`, `http` and `https` to this machine are allowed too, as for development.
    What a name leads to is checked again at each connection.
    """
    if len(url) > LONGEST_URL:
        return f"Must be at most {LONGEST_URL} characters long."
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`{|}'):
        return (
            "Must be ASCII: write a name in other letters as xn--…, and all else percent-encoded."
        )
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "Must be a URL like https://example.com/hook."
    if parts.username is not None or parts.password is not None:
        return "Must hold no user and password: deliveries are signed instead."
    if parts.fragment:
        return "Must have no fragment (#…): it is never sent."
    if port == 0:
        return "Must have a port from 1 to 65535, or none."
    if private_allowed and host in _LOCAL and parts.scheme in ("http", "https"):
        return None
    if parts.scheme != "https":
        return "Must begin with https://."
    try:
        address = ip_address(host)
    except ValueError:
        # Numbers that some resolvers read as IPv4 (0x7f.1, 2130706433) end in no letter.
        if not _HOST.fullmatch(host.removesuffix(".")):
            return "Must name a host with its domain, like example.com, or a public IP address."
        return None
    return None if is_public(address) else "Must lead to a public address."
