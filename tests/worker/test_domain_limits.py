"""Limits of what goes to one recipient domain."""

import asyncio
from dataclasses import replace

import pytest

from server.worker.mail import domain_limits
from server.worker.mail.domain_limits import DomainLimits
from server.worker.mail.mailer import Mail, MailDelayedError
from tests.worker.mailing import MAIL


class Held:
    """Takes e-mails, and keeps each until it is let go."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.gate = asyncio.Event()
        self.news = asyncio.Event()
        self.most = 0

    async def until(self, count: int) -> None:
        """Returns once so many are under way."""
        async with asyncio.timeout(20):
            while len(self.under_way) < count:
                self.news.clear()
                await self.news.wait()

    async def send(self, mail: Mail) -> None:
        self.under_way.append(mail.recipient)
        self.news.set()
        self.most = max(self.most, len(self.under_way))
        await self.gate.wait()
        self.under_way.remove(mail.recipient)

    async def close(self) -> None: ...


def to(address: str) -> Mail:
    return replace(MAIL, recipient=address)


async def test_few_go_to_one_domain_at_once_and_others_pass() -> None:
    held = Held()
    mailer = DomainLimits(held, 2, 0)
    sending = [
        asyncio.create_task(mailer.send(to(address)))
        for address in ("1@a.test", "2@A.test", "3@a.test", "4@b.test")
    ]
    await held.until(3)
    assert held.under_way == ["1@a.test", "2@A.test", "4@b.test"]
    held.gate.set()
    await asyncio.gather(*sending)
    assert held.most == 3


async def test_what_would_wait_for_long_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain_limits, "LONGEST_WAIT_S", 0.01)
    held = Held()
    mailer = DomainLimits(held, 1, 0)
    first = asyncio.create_task(mailer.send(to("1@a.test")))
    await held.until(1)
    with pytest.raises(MailDelayedError, match="limit of a domain") as late:
        await mailer.send(to("2@a.test"))
    assert not late.value.may_have_arrived
    held.gate.set()
    await first
    await mailer.send(to("2@a.test"))


async def test_the_domains_of_old_are_forgotten_and_those_in_use_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain_limits, "_MOST_DOMAINS", 2)
    held = Held()
    held.gate.set()
    mailer = DomainLimits(held, 1, 0)
    for name in ("a", "b", "a", "c"):
        await mailer.send(to(f"1@{name}.test"))
    assert list(mailer._domains) == ["a.test", "c.test"]
    held.gate.clear()
    sending = [asyncio.create_task(mailer.send(to("1@a.test")))]
    await held.until(1)
    sending += [asyncio.create_task(mailer.send(to(f"1@{name}.test"))) for name in "de"]
    await held.until(3)
    assert "a.test" in mailer._domains
    held.gate.set()
    await asyncio.gather(*sending)


async def test_a_domain_gets_so_many_e_mails_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.gate.set()
    mailer = DomainLimits(held, 0, 100)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(mailer.send(to("1@a.test")) for _ in range(6)))
    assert loop.time() - began >= 0.04  # the loop counts milliseconds
    monkeypatch.setattr(domain_limits, "LONGEST_WAIT_S", 0.0)
    await mailer.send(to("1@b.test"))
    with pytest.raises(MailDelayedError):
        await mailer.send(to("2@b.test"))
