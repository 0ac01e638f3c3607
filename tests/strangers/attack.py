"""What an attack is, and whom it attacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """The service under attack, as its callers see it.

    `token` is a viewer's, who has the role for `reseller_id` alone, `owner_token` one's who owns another
    reseller, `accounts.OWNED`: attacks by strangers leave both.
    """

    rest: str
    rest_tls: str
    grpc: str
    ca: str
    token: str
    reseller_id: str
    owner_token: str

    @property
    def http(self) -> tuple[str, int]:
        """Where the gateway serves without TLS."""
        return _address(self.rest)

    @property
    def https(self) -> tuple[str, int]:
        """Where the gateway serves with TLS."""
        return _address(self.rest_tls)

    @property
    def gateway(self) -> str:
        """What a gRPC channel through the gateway is made with."""
        return urlsplit(self.rest).netloc

    def save(self, file: Path) -> None:
        """Writes it down for the process that attacks."""
        file.write_text(json.dumps(self.__dict__))

    @classmethod
    def load(cls, file: Path) -> Target:
        """Reads what `save` wrote."""
        return cls(**json.loads(file.read_text()))


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError(url)
    return parts.hostname, parts.port


# Told how many more of the attack's connections, calls or bodies are under way.
Progress = Callable[[int], None]
# Makes the attack: under way once entered, over once left. The number is how many of its `unit`.
Hold = Callable[[Target, int, Progress], AbstractAsyncContextManager[None]]

Fakes = Callable[[], AbstractContextManager[Mapping[str, object]]]


def no_fakes() -> AbstractContextManager[Mapping[str, object]]:
    return nullcontext({})


@dataclass(frozen=True)
class Attack:
    """One way to harm others. Each module of `tests.strangers.attacks` holds one as `ATTACK`.

    `full` is its size in `make strangers`, `small` in `make test`. `fakes` are there while the
    service runs, and give its BILLING_ variables in lower case. `rows` is how many customers the
    reseller has. `newcomers_within_s` is how long a new connection may have to be tried for.
    """

    name: str
    unit: str
    full: int
    small: int
    hold: Hold
    fakes: Fakes = no_fakes
    rows: int = 0
    newcomers_within_s: float = 1.0
    most_gateway_mib: int = 100
