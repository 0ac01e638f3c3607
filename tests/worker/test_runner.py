"""The runner with a kind of work that is no e-mail."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from server.storage.interface import Storage
from server.worker.handlers.invitation_mail import InvitationMail
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.runner import Runner
from server.worker.work import Record
from server.worker.worker import Worker
from tests.clock import Clock
from tests.worker.harness import LONG, RETRY, SETTINGS, ended, invited
from tests.worker.mail_server import MailServer


@dataclass(frozen=True)
class Errand:
    number: int
    attempt: int
    lease_until: datetime
    requested_at: datetime

    @property
    def tries(self) -> int:
        return self.attempt - 1


@dataclass
class Errands:
    """Handles errands that are kept in memory. Those in `hanging` take for ever; others fail so often."""

    now: Clock
    due: dict[int, datetime]
    failures: int = 0
    hanging: frozenset[int] = frozenset()
    # So many claims find no database.
    away: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_closed: bool = False
    name = "errands"

    def id_of(self, work: Errand) -> str:
        return str(work.number)

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[Errand]:
        if self.away:
            self.away -= 1
            raise ConnectionError
        found = [number for number, due_at in self.due.items() if due_at <= self.now()][:limit]
        claimed = []
        for number in found:
            self.due[number] = self.now() + lease
            self.attempts[number] = self.attempts.get(number, 0) + 1
            claimed.append(Errand(number, self.attempts[number], self.due[number], Clock().at))
        return claimed

    async def wait_for_work(self, longest: timedelta) -> bool:
        await asyncio.sleep(0.01)
        return False

    async def attempt(self, work: Errand) -> Record:
        if work.number in self.hanging:
            await asyncio.Event().wait()
        if work.attempt <= self.failures:
            raise ValueError("not yet")
        return lambda: self._record(self.ended, work)

    def put_off(self, work: Errand, error: Exception, next_try_at: datetime) -> Record:
        assert isinstance(error, ValueError)

        async def record() -> bool:
            self.due[work.number] = next_try_at
            self.news.set()
            return True

        return record

    def give_up(self, work: Errand, error: Exception) -> Record:
        return lambda: self._record(self.given_up, work)

    async def give_back(self, work: Errand) -> bool:
        return await self._record(self.given_back, work)

    async def close(self) -> None:
        self.is_closed = True

    async def _record(self, where: list[int], work: Errand) -> bool:
        del self.due[work.number]
        where.append(work.number)
        self.news.set()
        return True

    async def until(self, number: int, where: list[int]) -> None:
        async with asyncio.timeout(LONG.total_seconds()):
            while number not in where:
                self.news.clear()
                await self.news.wait()


async def test_any_kind_of_work_is_tried_again_by_the_policy_and_given_up() -> None:
    clock = Clock()
    errands = Errands(clock, {1: clock(), 2: clock()}, failures=2)
    worker = Worker([Runner(errands, clock, SETTINGS, lambda: 0.0)])
    running = asyncio.create_task(worker.run())
    for delay_s in (10, 20):
        async with asyncio.timeout(LONG.total_seconds()):
            while set(errands.due.values()) != {clock() + timedelta(seconds=delay_s)}:
                errands.news.clear()
                await errands.news.wait()
        clock.advance(timedelta(seconds=delay_s))
    await errands.until(1, errands.ended)
    await errands.until(2, errands.ended)
    errands.failures = 10**9
    errands.due[3] = clock.at
    errands.attempts[3] = 5
    clock.advance(RETRY.give_up_after)
    await errands.until(3, errands.given_up)
    await worker.stop(LONG)
    await running
    assert errands.is_closed


async def test_work_is_found_soon_after_a_long_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As many claims as fail in minutes; what counts is how long the last pause may be.
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(delay: float) -> None:
        pauses.append(delay)
        await sleep(0)

    monkeypatch.setattr("server.worker.runner.asyncio.sleep", pause)
    clock = Clock()
    errands = Errands(clock, {1: clock()}, away=1000)
    worker = Worker([Runner(errands, clock, SETTINGS)])
    running = asyncio.create_task(worker.run())
    await errands.until(1, errands.ended)
    await worker.stop(LONG)
    await running
    assert len(pauses) >= 1000
    assert max(pauses) <= 0.25


async def test_kinds_of_work_do_not_wait_for_one_another(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    errands = Errands(clock, {1: clock(), 2: clock()}, hanging=frozenset({1, 2}))
    one = replace(SETTINGS, parallel=1)
    messages = MessageBuilder("Billing <billing@example.com>", "http://localhost:8080/i/", clock)
    mailer = SmtpMailer(SmtpServer.from_url(mail_server.url), 1)
    mail = InvitationMail(storage.mail, mailer, messages, clock)
    worker = Worker([Runner(errands, clock, one), Runner(mail, clock, one)])
    running = asyncio.create_task(worker.run())
    assert (await ended(storage, await invited(storage))).failure is None
    await worker.stop(timedelta())
    await running
    assert errands.given_back == [1]
