"""A mail server that is away: how often it is tried, and by how many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from server.worker.mail.mailer import MailDelayedError
from server.worker.mail.reachability import Reachability
from tests.worker.mailing import MAIL, mailing


@dataclass
class Server:
    """What is connected to; `now_s` is the time."""

    away: bool = True
    at: float = 0.0
    connections: list[float] = field(default_factory=list)

    def now_s(self) -> float:
        return self.at

    async def connect(self) -> str:
        self.connections.append(self.at)
        await asyncio.sleep(0)
        if self.away:
            raise MailDelayedError("connection", code=554, status="5.7.1", operators=True)
        return "connected"


async def _all(reachability: Reachability, server: Server, count: int) -> int:
    """Lets many connect at once; returns how many did."""
    connecting = (reachability.connected(server.connect) for _ in range(count))
    done = await asyncio.gather(*connecting, return_exceptions=True)
    for each in done:
        if each != "connected":
            assert isinstance(each, MailDelayedError)
            assert (each.code, each.status, each.operators) == (554, "5.7.1", True)
            assert str(each) == "connection: 554 5.7.1"
    return done.count("connected")


async def test_one_at_a_time_and_ever_more_seldom() -> None:
    server = Server()
    reachability = Reachability(server.now_s)
    for quarter in range(1, 4 * 60):
        assert await _all(reachability, server, 24) == 0
        server.at = quarter / 4
    assert server.connections[:24] == [0.0] * 24
    assert server.connections[24:] == [1.0, 3.0, 7.0, 15.0, 25.0, 35.0, 45.0, 55.0]


async def test_all_connect_again_once_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = Server()
    reachability = Reachability(server.now_s)
    assert await _all(reachability, server, 1) == 0
    server.away, server.at = False, 1.0
    assert await _all(reachability, server, 24) == 24
    assert [each.getMessage() for each in caplog.records] == [
        "the mail server is reached again, after 1 s"
    ]


async def test_one_whose_time_is_over_counts_as_a_failure() -> None:
    server = Server()
    reachability = Reachability(server.now_s)
    hanging = asyncio.create_task(reachability.connected(asyncio.Event().wait))
    await asyncio.sleep(0)
    hanging.cancel()
    await asyncio.wait({hanging})
    with pytest.raises(MailDelayedError, match="time limit"):
        await reachability.connected(server.connect)
    assert not server.connections


@asynccontextmanager
async def _refusing(greetings: list[int]) -> AsyncIterator[int]:
    """Runs a server that takes nobody, and counts who came."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greetings.append(1)
        writer.write(b"554 5.7.1 Go away\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_many_e_mails_make_few_connections() -> None:
    greetings: list[int] = []
    async with (
        _refusing(greetings) as port,
        mailing(f"smtp://127.0.0.1:{port}", connections=4) as mailer,
    ):
        sends = [mailer.send(MAIL) for _ in range(500)]
        done = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(each) for each in done} == {MailDelayedError}
    assert len(greetings) <= 5
