"""Reading what Amazon has to say: by https, without going on to another, in bounded time and length."""

import aiohttp

_WITHIN_S = 5.0
_MOST_BYTES = 16 << 10


async def fetch(url: str, proxy: str = "") -> bytes:
    """Returns what is at a URL. Raises OSError where it can't be had."""
    timeout = aiohttp.ClientTimeout(total=_WITHIN_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False, proxy=proxy or None) as answer,
        ):
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            found = b""
            # Each read returns what has arrived.
            while piece := await answer.content.read(_MOST_BYTES - len(found)):
                found += piece
            return found
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        raise OSError(type(error).__name__) from None
