"""A real SMTP server for tests, told how to answer, and a raw one for what no real one does."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

OK = "250 OK"
# How long tests wait for what must happen: pytest-timeout can't end a test on uvloop.
PATIENCE_S = 30.0


def hang_up(session: SMTP) -> None:
    """Drops the connection without a word."""
    if session.transport:
        cast("asyncio.WriteTransport", session.transport).abort()


@dataclass
class Received:
    """An e-mail that the server has accepted."""

    sender: str
    recipients: list[str]
    options: list[str]
    content: bytes
    tls: bool
    user: bytes | None

    @property
    def message(self) -> EmailMessage:
        """The e-mail as another program reads it."""
        message = BytesParser(policy=default).parsebytes(self.content)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class MailServer:
    """What the server does and has seen.

    `replies` holds answers by command, used up in order; then all is well. `gates` holds events by
    command that must be set before it answers. `drops` names the commands at which it hangs up:
    BODY is after the message's text has begun.
    """

    smtputf8: bool = True
    tls: ssl.SSLContext | None = None
    auth: dict[bytes, bytes] = field(default_factory=dict)
    auth_on_plain: bool = False
    starttls: bool = True
    replies: dict[str, list[str]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    drops: set[str] = field(default_factory=set)
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: list[SMTP] = field(default_factory=list)
    port: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def session(self) -> SMTP:
        session = _Protocol(
            self,
            enable_SMTPUTF8=self.smtputf8,
            hostname="mail.test",
            tls_context=self.tls if self.starttls else None,
            authenticator=self._authenticate,
            auth_require_tls=not self.auth_on_plain,
            loop=asyncio.get_running_loop(),
        )
        self.sessions.append(session)
        return session

    async def until(self, count: int, command: str | None = None) -> None:
        """Returns once so many e-mails have come in, or so many of the command."""
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(
                lambda: count <= (self.commands.count(command) if command else len(self.received))
            )

    async def answer(self, command: str, server: SMTP) -> str:
        self.commands.append(command)
        await self._tell()
        if gate := self.gates.get(command):
            await gate.wait()
        if command in self.drops:
            hang_up(server)
        replies = self.replies.get(command)
        return replies.pop(0) if replies else OK

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self.answer("MAIL", server)
        if reply == OK:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        reply = await self.answer("RCPT", server)
        if reply == OK:
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = await self.answer("DATA", server)
        if reply == OK:
            assert envelope.mail_from
            assert isinstance(envelope.original_content, bytes)
            login: Any = session.auth_data
            self.received.append(
                Received(
                    envelope.mail_from,
                    envelope.rcpt_tos,
                    envelope.mail_options,
                    envelope.original_content,
                    session.ssl is not None,
                    login.login if login else None,
                )
            )
            await self._tell()
        return reply

    async def handle_RSET(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return await self.answer("RSET", server)

    async def handle_QUIT(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        await self.answer("QUIT", server)
        return "221 Bye"

    async def handle_EHLO(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        reply = await self.answer("EHLO", server)
        if reply != OK:
            return [reply]
        session.host_name = hostname
        return responses

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.commands.append("AUTH")
        known = self.auth.get(data.login) == data.password
        return AuthResult(success=known, handled=False, auth_data=data)

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()


class _Protocol(SMTP):
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        server = self.event_handler
        if "BODY" in server.drops:
            server.commands.append("BODY")
            await self.push("354 Go ahead")
            await self._reader.readline()
            hang_up(self)
            return
        await super().smtp_DATA(arg)


@asynccontextmanager
async def serving(server: MailServer, *, implicit_tls: bool = False) -> AsyncIterator[MailServer]:
    """Runs the server on a free port."""
    listening = await asyncio.get_running_loop().create_server(
        server.session, "127.0.0.1", 0, ssl=server.tls if implicit_tls else None
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for gate in server.gates.values():
            gate.set()
        for session in server.sessions:
            hang_up(session)
        await listening.wait_closed()


@asynccontextmanager
async def saying(*lines: bytes) -> AsyncIterator[int]:
    """Runs a server that says the first line at once, and one more for each that it hears."""
    connections: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        for line in lines:
            writer.write(line)
            await reader.readline()
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in connections:
            writer.transport.abort()
        await listening.wait_closed()
