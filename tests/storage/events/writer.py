"""Processes that write to the log: they stop in the middle, go on or die as a test says."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from server.domain.errors import BillingError
from server.domain.invitations import NewInvitation
from server.domain.limits import Limits
from server.storage.storage import SqlStorage
from tests.storage.overlap import IN_TIME_S, PausingDatabase
from tests.storage.records import KEY_LIFETIME, new

# Processes are forked from one that has imported all that they need.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", __name__])


class _Order(NamedTuple):
    """What to write, where to stop on the way, and whether to die between commit and answer."""

    made: NewInvitation
    stop_before: str
    dies: bool


class Writer:
    """A process that invites. Killed, it is gone."""

    def __init__(self, database_url: str) -> None:
        self._pipe, its_end = _FORKS.Pipe()
        self.process: BaseProcess = _FORKS.Process(
            target=_main, args=(database_url, its_end), daemon=True
        )
        self.process.start()
        its_end.close()
        self.backends: list[int] = []

    async def hold(self, stop_before: str, *, dies: bool = False) -> str:
        """Has it invite up to a statement; returns the customer's ID."""
        made = new()
        self._pipe.send(_Order(made, stop_before, dies))
        self.backends = await self._answer()
        return made.customer.id

    async def go_on(self) -> bool:
        """Lets it go on; returns whether it was told that all is recorded."""
        self._pipe.send(None)
        return bool(await self._answer())

    async def go_on_to_death(self) -> None:
        """Lets one go on that dies."""
        self._pipe.send(None)
        await self._gone()

    async def kill(self) -> None:
        """Kills it with SIGKILL."""
        self.process.kill()
        await self._gone()

    async def _gone(self) -> None:
        await asyncio.to_thread(self.process.join, IN_TIME_S)
        assert self.process.exitcode == -signal.SIGKILL

    async def _answer(self) -> Any:
        def receive() -> Any:
            assert self._pipe.poll(IN_TIME_S), "the writer says nothing"
            return self._pipe.recv()

        return await asyncio.to_thread(receive)


class Writers:
    """Makes such processes; those that live are used again."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._free: list[Writer] = []

    def get(self) -> Writer:
        """Returns one that nothing is asked of."""
        return self._free.pop() if self._free else Writer(self._database_url)

    def give_back(self, writer: Writer) -> None:
        """Takes one back that lives."""
        self._free.append(writer)

    def close(self) -> None:
        """Ends those that were given back."""
        for writer in self._free:
            writer.process.kill()
            writer.process.join()


@contextmanager
def writing(database_url: str) -> Iterator[Writers]:
    """Gives processes that write, and ends them."""
    writers = Writers(database_url)
    try:
        yield writers
    finally:
        writers.close()


def _main(database_url: str, pipe: Connection) -> None:
    asyncio.run(_write(database_url, pipe))


async def _write(database_url: str, pipe: Connection) -> None:
    database = PausingDatabase(database_url)
    storage = SqlStorage(database, KEY_LIFETIME, Limits())
    while True:
        order: _Order = await asyncio.to_thread(pipe.recv)
        if order.dies:
            storage._writes._resolve = _die  # type: ignore[method-assign, assignment]
        database.stop.set_before(order.stop_before)
        invited = asyncio.create_task(storage.invitations.create_invitation(order.made, None))
        await database.stop.reached.wait()
        pipe.send(database.backends)
        await asyncio.to_thread(pipe.recv)
        database.stop.release()
        try:
            await invited
        except BillingError:
            pipe.send(False)
        else:
            pipe.send(True)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
