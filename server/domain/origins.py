"""Where pages of ours may lead: URIs, and their origins, which operators list for each reseller.

Only what all browsers read alike is taken: URIs of ASCII, by the letter of RFC 3986.
"""

import re

_HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_ORIGIN = re.compile(rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?", re.ASCII | re.IGNORECASE)
_PLACE = re.compile(
    r"(?:/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?"
    r"(?:\?(?:[a-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*)?"
    r"(?:#(?:[a-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*)?",
    re.ASCII | re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}
# To try things out on one machine.
_LOCAL = ("localhost", "127.0.0.1")
_FORM = "begin with https:// and a host in ASCII (xn--… for others), as https://shop.example"


def parse_origin(text: str) -> str:
    """Returns an origin in normal form: `https://shop.example`, or with a port of its own.

    Raises ValueError, whose text says what it must be.
    """
    found = _ORIGIN.fullmatch(text)
    if not found:
        raise ValueError(f"must {_FORM}, and end there")
    return _normal(found)


def origin_of(uri: str) -> str:
    """Returns the origin of a URI; raises ValueError, whose text says what it must be."""
    found = _ORIGIN.match(uri)
    if not found or not _PLACE.fullmatch(uri, found.end()):
        raise ValueError(f"must be a URI by RFC 3986, and {_FORM}/welcome")
    return _normal(found)


def _normal(found: re.Match[str]) -> str:
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    if scheme == "http" and host not in _LOCAL:
        raise ValueError("must begin with https://; http:// is for localhost alone")
    if port and not 0 < int(port) < 1 << 16:
        raise ValueError("must have a port from 1 to 65535, or none")
    own_port = f":{int(port)}" if port and int(port) != _PORTS[scheme] else ""
    return f"{scheme}://{host}{own_port}"
