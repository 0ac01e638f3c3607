"""Posts deliveries by HTTP, and makes sure that none can be aimed at the operator's own network."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from server.domain.webhooks import is_public
from server.worker.webhooks.answers import BoundedConnector

# What a receiver has from the first byte of the connection to the last one of its answer.
LIMIT = timedelta(seconds=15)
_MOST_READ = 64 << 10
_LONGEST_RETRY_AFTER = timedelta(days=1)
# Shorter than what receivers keep (Node: 5 s), so that they don't close a connection as it is used.
_KEPT_S = 3
_NAME = "billing-webhooks/1"


class Outcome(NamedTuple):
    """What became of one try. `status` is the HTTP status, None where there was no whole answer.

    `error` says in our words why there was none; nothing that the receiver sent is in it.
    `retry_after` is how long the receiver asks to be left alone, at most a day.
    """

    status: int | None
    error: str
    took: timedelta
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the event."""
        return self.status is not None and 200 <= self.status < 300


class _NotPublicError(OSError):
    """A name or address led to where nothing may be sent."""


class Sender:
    """Posts over a pool of connections; one for a process. To be made in the event loop.

    Each connection's address is checked when it is made: what a name leads to can change after it
    was last looked up. `proxy` is the URL of an HTTP proxy through which all goes; it then has to do
    the check.
    """

    def __init__(
        self,
        *,
        private_allowed: bool,
        proxy: str = "",
        tls: ssl.SSLContext | None = None,
        resolver: Callable[[], AbstractResolver] = aiohttp.AsyncResolver,
    ) -> None:
        """With `private_allowed` this machine may be sent to as well, as for development.

        `tls`: whose certificates are accepted; default those that the system accepts.
        """
        self._proxy = proxy or None
        self._private_allowed = private_allowed
        self._resolver = resolver()
        connector = BoundedConnector(
            ssl=True if tls is None else tls,
            limit=0,  # there are as many as deliveries under way
            # Whoever is asked for a name is asked for each connection.
            use_dns_cache=False,
            resolver=self._resolver,
            socket_factory=None if proxy else self._socket,
            keepalive_timeout=_KEPT_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Proxies of the environment are the operator's for other things.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Nothing is unpacked: a small answer can be a large one.
            auto_decompress=False,
            headers={"User-Agent": _NAME, "Accept-Encoding": "identity"},
            read_bufsize=16 << 10,
            # aiohttp lengthens what is above the threshold, by up to a second.
            timeout=aiohttp.ClientTimeout(
                total=LIMIT.total_seconds(), ceil_threshold=LIMIT.total_seconds()
            ),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Sends one delivery; never raises for what the network or the receiver does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        status: int | None = None
        retry_after: timedelta | None = None
        error = ""
        try:
            async with self._session.post(
                # As it was written: a receiver may count on it.
                URL(url, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as answer:
                retry_after = _retry_after(answer.headers.get("Retry-After"))
                await _read(answer)
                status = answer.status
        except TimeoutError:
            error = f"no whole answer within {LIMIT.total_seconds():.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as failed:
            error = _described(failed)
        took = timedelta(seconds=loop.time() - began)
        return Outcome(status, error, took, retry_after)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()
        await self._resolver.close()

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = address
        if not self._may_be_sent_to(ip_address(str(place[0]).partition("%")[0])):
            raise _NotPublicError
        return socket.socket(family, kind, protocol)

    def _may_be_sent_to(self, address: IPv4Address | IPv6Address) -> bool:
        return is_public(address) or (self._private_allowed and address.is_loopback)


async def _read(answer: aiohttp.ClientResponse) -> None:
    """Reads the answer, so that its connection can be used again; of one that is too long, a part."""
    left = _MOST_READ
    async for piece in answer.content.iter_any():
        left -= len(piece)
        if left < 0:
            answer.close()
            return


# The first that fits tells what happened.
_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "the certificate is not valid for the host"),
    (aiohttp.ClientConnectorDNSError, "the host's name was not found"),
    (aiohttp.ClientSSLError, "the TLS handshake failed"),
    (_NotPublicError, "the host leads to an address that is not public"),
    (aiohttp.ClientProxyConnectionError, "the proxy of the service can't be reached"),
    (aiohttp.ClientHttpProxyError, "the proxy of the service refused"),
    (ConnectionRefusedError, "the connection was refused"),
    (aiohttp.ClientConnectorError, "the host can't be reached"),
    (aiohttp.InvalidURL, "the URL can't be used"),
    (aiohttp.ClientPayloadError, "the connection was lost before the answer was whole"),
    (aiohttp.ServerDisconnectedError, "the connection was closed without an answer"),
    (aiohttp.ClientResponseError, "the answer is not HTTP, or has too many headers"),
    (aiohttp.ClientConnectionError, "the connection was lost"),
)


def _described(failed: Exception) -> str:
    causes = _causes(failed)
    for type_, text in _ERRORS:
        if any(isinstance(cause, type_) for cause in causes):
            return text
    return "the connection failed"


def _causes(failed: Exception) -> list[BaseException]:
    """Returns an exception and those that led to it."""
    causes: list[BaseException] = []
    left: list[Any] = [failed]
    while left:
        cause = left.pop()
        if isinstance(cause, BaseException) and cause not in causes:
            causes.append(cause)
            left += [cause.__cause__, cause.__context__, getattr(cause, "os_error", None)]
            left += getattr(cause, "exceptions", ())
    return causes


def _retry_after(header: str | None) -> timedelta | None:
    """Returns the delay in a Retry-After header: seconds or a date; None for anything else."""
    if header is None or len(header) > 40:
        return None
    if header.isascii() and header.isdigit():
        return min(timedelta(seconds=min(int(header), 10**6)), _LONGEST_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    delay = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    return min(max(delay, timedelta()), _LONGEST_RETRY_AFTER)
