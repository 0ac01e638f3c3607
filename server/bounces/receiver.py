"""A mail server for what comes back: by SMTP or LMTP, for senders of our e-mails and nobody else.

What a stranger can cost is bounded: connections, their time, and the size of an e-mail; only whoever
has an e-mail's own sender, which can't be guessed, is listened to at all.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from server.bounces.reader import ReaderLostError, ReportReader
from server.bounces.reports import log_report
from server.domain.bounces import BounceToken, parse_bounce_local_part
from server.domain.errors import BillingError
from server.storage.interface import BounceStorage
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 200
MOST_OF_ONE_ADDRESS = 20
# From the first byte to the last, and between two.
_LONGEST_S, _SILENT_S = 300.0, 60.0
# Our e-mails, which reports quote, have a few KiB.
MOST_BYTES = 256 << 10
# Lines that are read before other connections have their turn: thousands come in one packet.
_LINES_IN_TURN = 16
# Lines of a connection that are no command; the library counts only those that could be one.
_MOST_BAD_LINES = 100

_NOTED = "250 2.0.0 Noted"
_NOBODY = "550 5.1.1 There is no such mailbox here"
_ONE = "452 4.5.3 One recipient at a time"
_LATER = "451 4.3.0 Try again later"
_BAD, _TOO_MANY_BAD = "500", "421 4.7.0 Too many lines that are no command"


class BounceReceiver:
    """Takes reports for one domain; `port` is where it listens. To be made in the event loop."""

    def __init__(self, storage: BounceStorage, domain: str, now: Callable[[], datetime]) -> None:
        self.port = 0
        self._storage = storage
        self._domain = domain.lower()
        self._now = now
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._by_address: Counter[str] = Counter()
        self._reader = ReportReader()
        self._failures = FailureLog(_log)

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError where it can't listen; port 0 takes a free one."""
        # It logs the addresses in every e-mail.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Session(self), host, port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Takes no more reports and closes all connections."""
        if self._server:
            self._server.close()
            for session in list(self._sessions):
                session.drop()
            await self._server.wait_closed()
        await self._reader.stop()

    def opened(self, session: "_Session", address: str) -> bool:
        """Counts a connection; tells whether there is room for it."""
        if (
            len(self._sessions) >= MOST_CONNECTIONS
            or self._by_address[address] >= MOST_OF_ONE_ADDRESS
        ):
            return False
        self._sessions.add(session)
        self._by_address[address] += 1
        return True

    def closed(self, session: "_Session", address: str) -> None:
        """Counts a connection no longer that was counted."""
        if session in self._sessions:
            self._sessions.discard(session)
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Takes one recipient: the sender of one of our e-mails."""
        if envelope.rcpt_tos:
            return _ONE
        token = self._token(address)
        try:
            if token is None or not await self._storage.knows_bounce(token):
                return _NOBODY
        except BillingError:
            return _LATER
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Reads the report and has it recorded; answers once it is durable."""
        content = envelope.original_content
        token = self._token(envelope.rcpt_tos[0])
        assert isinstance(content, bytes)  # noqa: S101 - decode_data is off
        assert token  # noqa: S101 - RCPT was taken
        try:
            report = await self._reader.read(content, envelope.mail_from or "")
        except ReaderLostError:
            return _LATER
        if report is None:
            _log.info("what came to an e-mail's sender is no report that can be read")
            return _NOTED
        try:
            outcome = await self._storage.record_bounce(token, report, self._now())
        except BillingError:
            return _LATER
        if outcome.too_early:
            return _LATER
        log_report(report, outcome)
        return _NOTED

    async def handle_exception(self, error: Exception) -> str:
        """Answers a client whose report broke something."""
        self._failures.tell_error("a report was not taken", error)
        return _LATER

    def _token(self, address: str) -> BounceToken | None:
        local_part, _, domain = address.rpartition("@")
        return parse_bounce_local_part(local_part) if domain.lower() == self._domain else None


class _InTurn:
    """Reads a connection in turn with the others, also where all is here that is asked for.

    The library has the answers of asyncio's reader at once then, and would go on for seconds.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._reads = 0

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        await self._take_turn()
        return await self._reader.readuntil(separator)

    async def read(self, most: int) -> bytes:
        await self._take_turn()
        return await self._reader.read(most)

    async def _take_turn(self) -> None:
        self._reads += 1
        if self._reads % _LINES_IN_TURN == 0:
            await asyncio.sleep(0)


class _Session(SMTP):
    """A connection, by SMTP or, if it begins with LHLO, by LMTP.

    With one recipient an e-mail, both answer alike.
    """

    def __init__(self, receiver: BounceReceiver) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            receiver,
            data_size_limit=MOST_BYTES,
            enable_SMTPUTF8=True,
            ident="ESMTP",
            hostname=receiver._domain,  # noqa: SLF001 - its own
            timeout=_SILENT_S,
            command_call_limit=100,
            loop=loop,
        )
        self._receiver = receiver
        self._address = ""
        self._bad_lines = 0
        self._end = loop.call_later(_LONGEST_S, self.drop)

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await super().smtp_EHLO(arg)

    async def push(self, status: Any) -> None:
        """Sends an answer; ends the connection of who goes on sending what is no command."""
        await super().push(status)
        if str(status).startswith(_BAD):
            self._bad_lines += 1
            if self._bad_lines > _MOST_BAD_LINES:
                await super().push(_TOO_MANY_BAD)
                raise asyncio.CancelledError  # which the library closes the connection for

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._receiver.opened(self, self._address):
            self._end.cancel()
            transport.write(b"421 4.3.2 Too many connections\r\n")
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._end.cancel()
        self._receiver.closed(self, self._address)
        if self.transport is not None:
            super().connection_lost(error)

    def _cb_client_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        in_turn: Any = _InTurn(reader)
        super()._cb_client_connected(in_turn, writer)

    def drop(self) -> None:
        """Ends the connection, without waiting for who is at its other end."""
        if self.transport is not None:
            transport: Any = self.transport
            transport.abort()
