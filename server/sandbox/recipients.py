"""Test recipients: the address says what they do with an e-mail.

`accept`, `decline`, `bounce` (`accept+5s`: after five seconds of the sandbox's clock), `refuse`,
`delay` (`delay+30s`: taken after thirty seconds), `ignore`, all at `sandbox.example`; anything may
follow a dot. What they do comes the way it does from people and mail servers: by the page of the link,
SMTP's answers, a report to the e-mail's sender.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import aiosmtplib

from server.sandbox.emails import Email
from server.storage.interface import WaitStorage

_log = logging.getLogger(__name__)

_DOMAIN = "sandbox.example"
_BEHAVIOUR = re.compile(
    r"(?P<kind>accept|decline|bounce|refuse|delay|ignore)(\+(?P<seconds>\d{1,8})s)?(\..*)?"
)
_DELAY_S = 30
_MAX_DELAYED = 10_000
# How long an e-mail's operation may take to end; how often an act is tried, and the pause between.
_LONGEST_WAIT = timedelta(seconds=10)
_TRIES = 5
_PAUSE_S = 0.2

_Act = Callable[[], Awaitable[None]]


class Behaviour(NamedTuple):
    """What a recipient does, and how late."""

    kind: str
    after: timedelta


class _Pending(NamedTuple):
    at: datetime
    act: _Act


def behaviour_of(address: str) -> Behaviour | None:
    """Returns the behaviour that an address says; None: it is any other."""
    local_part, _, domain = address.rpartition("@")
    found = _BEHAVIOUR.fullmatch(local_part.lower()) if domain.lower() == _DOMAIN else None
    if not found:
        return None
    by_default = _DELAY_S if found["kind"] == "delay" else 0
    return Behaviour(found["kind"], timedelta(seconds=int(found["seconds"] or by_default)))


class Recipients:
    """Does what their addresses say, by one clock."""

    def __init__(
        self, clock: Callable[[], datetime], waits: WaitStorage, http_port: int, bounce_port: int
    ) -> None:
        """The ports are those where links lead to, and where reports are taken."""
        self._clock = clock
        self._waits = waits
        self._http_port = http_port
        self._bounce_port = bounce_port
        self._pending: list[_Pending] = []
        self._running: set[asyncio.Task[None]] = set()
        self._delayed: OrderedDict[str, datetime] = OrderedDict()

    def refusal(self, address: str) -> str | None:
        """Returns what the mail server answers to a recipient; None: it takes the e-mail."""
        behaviour = behaviour_of(address)
        if behaviour and behaviour.kind == "refuse":
            return "550 5.1.1 There is no such mailbox here"
        if behaviour and behaviour.kind == "delay":
            until = self._delayed.setdefault(address.lower(), self._clock() + behaviour.after)
            if len(self._delayed) > _MAX_DELAYED:
                self._delayed.popitem(last=False)
            if self._clock() < until:
                return "451 4.7.1 Try again later"
        return None

    def taken(self, email: Email, sender: str) -> None:
        """Notes that the mail server has taken an e-mail from an envelope's sender."""
        behaviour = behaviour_of(email.to)
        if not behaviour or behaviour.kind not in ("accept", "decline", "bounce"):
            return

        async def act() -> None:
            # Nobody acts on what has not arrived; and who does must not overtake its record.
            await self._waits.wait_operation(email.operation_id, _LONGEST_WAIT)
            if behaviour.kind == "bounce":
                await self._report(email, sender)
            elif email.link:
                await self._answer(email, behaviour.kind)

        self._pending.append(_Pending(self._clock() + behaviour.after, act))
        asyncio.get_running_loop().call_later(behaviour.after.total_seconds(), self._begin_due)

    async def settle(self) -> bool:
        """Returns once all that is due has been done; tells whether there was any."""
        self._begin_due()
        if not self._running:
            return False
        await asyncio.wait(self._running)
        return True

    async def stop(self) -> None:
        """Does no more."""
        self._pending.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin_due(self) -> None:
        now = self._clock()
        due = [each for each in self._pending if each.at <= now]
        self._pending = [each for each in self._pending if each.at > now]
        for each in due:
            task = asyncio.create_task(_with_retries(each.act))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, email: Email, answer: str) -> None:
        """Opens the link and presses the button."""
        parts = urlsplit(email.link)
        page = f"http://127.0.0.1:{self._http_port}{parts.path}"
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            async with session.get(page) as shown:
                await shown.read()
            async with session.post(page, data={"answer": answer}, allow_redirects=False):
                pass

    async def _report(self, email: Email, sender: str) -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=self._bounce_port) as smtp:
            await smtp.sendmail("", [sender], _report(email))


async def _with_retries(act: _Act) -> None:
    """Does an act, again where it fails: Envoy may be starting, an outcome not be recorded yet."""
    for left in reversed(range(_TRIES)):
        try:
            return await act()
        except (aiohttp.ClientError, aiosmtplib.SMTPException, OSError) as error:
            if not left:
                _log.warning(
                    "a test recipient could not do what its address says: %s", type(error).__name__
                )
                return None
            await asyncio.sleep(_PAUSE_S)
    return None


def _report(email: Email) -> bytes:
    """Returns a report by RFC 3464 that there is no such mailbox."""
    headers, _, _ = email.content.partition(b"\r\n\r\n")
    head = f"""\
From: Mail Delivery System <MAILER-DAEMON@{_DOMAIN}>
To: <>
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"

--=_report
Content-Type: text/plain; charset=us-ascii

There is no such mailbox.

--=_report
Content-Type: message/delivery-status

Reporting-MTA: dns; {_DOMAIN}

Final-Recipient: rfc822; {email.to}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 There is no such mailbox here

--=_report
Content-Type: text/rfc822-headers

"""
    return head.replace("\n", "\r\n").encode() + headers + b"\r\n\r\n--=_report--\r\n"
