"""Where calls come from, which is whom those without identity count for."""

import ipaddress
import logging
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

_log = logging.getLogger(__name__)

_FORWARDED = "x-forwarded-for"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class CallerAddresses:
    """Tells callers' addresses, by the connection or by what a gateway says.

    Gateways are all on this machine, and those in `gateways` (CIDR); nobody else is believed.
    """

    def __init__(self, gateways: Iterable[str] = ()) -> None:
        self._gateways = [ipaddress.ip_network(each) for each in gateways]
        self._warned = False

    def of(self, headers: Mapping[str, Any], peer: str) -> str:
        """Returns whom to count a call for: an IPv6 caller has its whole /64."""
        connected = _connected(peer)
        forwarded = headers.get(_FORWARDED)
        if forwarded and self._is_gateway(connected):
            # The last one is what the gateway says; those before are what the caller says.
            return _counted(_parsed(forwarded.rpartition(",")[2].strip()) or connected)
        if forwarded and not self._warned:
            self._warned = True
            _log.warning(
                "X-Forwarded-For from another machine is not believed; if that is the gateway, list "
                "it in BILLING_TRUSTED_PROXIES"
            )
        return _counted(connected)

    def _is_gateway(self, connected: _Address | None) -> bool:
        if connected is None or connected.is_loopback:
            return True
        return any(connected in network for network in self._gateways)


def _connected(peer: str) -> _Address | None:
    """Returns the other end of a connection as grpc tells it, None for a unix socket."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    found = _parsed(urllib.parse.unquote(rest).rpartition(":")[0].strip("[]"))
    return getattr(found, "ipv4_mapped", None) or found


def _parsed(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _counted(address: _Address | None) -> str:
    if address is None:
        return "unix"
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
