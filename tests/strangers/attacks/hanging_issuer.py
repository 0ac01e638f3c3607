"""Unsigned tokens with keys that only the outside issuer could know, which does not answer."""

import base64
import itertools
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls

_NUMBERS = itertools.count()


@contextmanager
def _silent_issuer() -> Iterator[Mapping[str, object]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield {
            "oidc_issuer": "https://issuer.example",
            "oidc_audience": "billing",
            "oidc_jwks": f"https://127.0.0.1:{listening.getsockname()[1]}/",
        }


def unsigned_token() -> str:
    """Returns a token with a key that nobody knows, each time another."""
    parts = (f'{{"alg":"RS256","kid":"made-up-{next(_NUMBERS)}"}}', '{"sub":"a"}', "unsigned")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


async def _get(channel: grpc.aio.Channel) -> None:
    method: Any = channel.unary_unary("/yandex.cloud.operation.OperationService/Get")
    await method(b"", metadata=(("authorization", f"Bearer {unsigned_token()}"),))


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _get)


ATTACK = Attack("an issuer that hangs", "tokens", 1_010, 1_010, _hold, _silent_issuer)
