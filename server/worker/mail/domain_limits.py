"""How many e-mails go to one recipient domain at once, and how often: for relays that send at once."""

import asyncio
from collections import OrderedDict

from server.worker.mail.mailer import Mail, MailDelayedError, Mailer

# What must wait longer gives its place to e-mails for other domains, and is tried again later.
LONGEST_WAIT_S = 2.0
_MOST_DOMAINS = 10_000
_PROBLEM = "many e-mails for the same domain are on their way"


class _Domain:
    """What is on its way to a domain, and when the next one may go."""

    __slots__ = ("free", "next_at", "users")

    def __init__(self, connections: int) -> None:
        self.free = asyncio.Semaphore(connections) if connections else None
        self.next_at = 0.0
        self.users = 0


class DomainLimits:
    """A Mailer in front of another; limits are of one process, 0 for none."""

    def __init__(self, mailer: Mailer, connections: int, per_s: float) -> None:
        self._mailer = mailer
        self._connections = connections
        self._per_s = per_s
        self._domains: OrderedDict[str, _Domain] = OrderedDict()

    async def send(self, mail: Mail) -> None:
        """Sends once the domain's limits let it; see Mailer. Raises MailDelayedError if that is late."""
        name = mail.recipient.rpartition("@")[2].lower()
        domain = self._domains.get(name)
        if domain is None:
            domain = self._domains[name] = _Domain(self._connections)
            self._forget()
        self._domains.move_to_end(name)
        domain.users += 1
        try:
            await self._send(mail, domain)
        finally:
            domain.users -= 1

    async def _send(self, mail: Mail, domain: _Domain) -> None:
        if domain.free is None:
            await self._pause(domain)
            await self._mailer.send(mail)
            return
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await domain.free.acquire()
        except TimeoutError:
            raise _late() from None
        try:
            await self._pause(domain)
            await self._mailer.send(mail)
        finally:
            domain.free.release()

    async def close(self) -> None:
        """Gives the connections back."""
        await self._mailer.close()

    async def _pause(self, domain: _Domain) -> None:
        if not self._per_s:
            return
        now = asyncio.get_running_loop().time()
        at = max(now, domain.next_at)
        if at - now > LONGEST_WAIT_S:
            raise _late()
        domain.next_at = at + 1 / self._per_s
        await asyncio.sleep(at - now)

    def _forget(self) -> None:
        """Lets go of what is not in use, the longest unused first."""
        while len(self._domains) > _MOST_DOMAINS:
            name, oldest = next(iter(self._domains.items()))
            if oldest.users:
                return
            del self._domains[name]


def _late() -> MailDelayedError:
    return MailDelayedError("connection", detail="limit of a domain", problem=_PROBLEM)
