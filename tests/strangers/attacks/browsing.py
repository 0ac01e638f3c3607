"""All that a browser may ask for without credentials, as fast as it is answered: documents, packed or not,
in part, or if they have changed; pages of links that lead nowhere, and their form; paths that there are not.
"""

import asyncio
import itertools
import secrets
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.connections import hold_connections

_DOCUMENTS = ("/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")
_WISHES = (
    "accept-encoding: gzip\r\n",
    'if-none-match: "x"\r\nif-modified-since: Thu, 01 Jan 2026 00:00:00 GMT\r\n',
    "range: bytes=0-0, -1, 1-\r\n",
    "",
)
_NOWHERE = ("/.well-known/openid-configuration", "/favicon.ico", "/docs/../x", "//", "/")
_FORM = "answer=accept"
_AT_ONCE = 8


def _requests() -> Iterator[tuple[str, str, str, str]]:
    """Gives verbs, paths, headers and bodies."""
    for path, wish in itertools.product(_DOCUMENTS, _WISHES):
        yield "GET", path, wish, ""
    for path in (*_DOCUMENTS, *_NOWHERE):
        yield "HEAD", path, "", ""
        yield "OPTIONS", path, "origin: https://a.b\r\naccess-control-request-method: GET\r\n", ""
        yield "GET", path, "accept: text/html\r\n", ""
    for token in ("x", "%s"):
        for verb, body in (("GET", ""), ("HEAD", ""), ("POST", _FORM), ("DELETE", "")):
            yield verb, f"/invitations/{token}", "accept-language: ru, en;q=0.5\r\n", body


_ALL = list(_requests())


def _asked(number: int) -> bytes:
    verb, path, headers, body = _ALL[number % len(_ALL)]
    path = path.replace("%s", secrets.token_urlsafe(24))
    length = f"content-length: {len(body)}\r\n" if verb == "POST" else ""
    return f"{verb} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{length}\r\n{body}".encode()


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_connections(target, count, progress, _use)


async def _use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Sends a few one behind the other, again and again: answers are not looked at, only taken."""
    while True:
        writer.write(b"".join(_asked(number + each) for each in range(_AT_ONCE)))
        number += _AT_ONCE
        await writer.drain()
        if not await reader.read(1 << 20):
            return


ATTACK = Attack("browsing without end", "connections", 200, 50, _hold)
