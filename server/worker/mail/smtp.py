"""Sends e-mails by SMTP over a few connections that are kept and used again."""

import asyncio
import socket
from datetime import timedelta
from typing import cast

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from server.worker.mail.mailer import Mail, MailDelayedError
from server.worker.mail.reachability import UNREACHABLE, Reachability
from server.worker.mail.smtp_replies import failure, no_smtputf8
from server.worker.mail.smtp_server import SmtpServer

# Servers commonly close what is idle after one to five minutes, firewalls sooner and silently.
IDLE_AT_MOST = timedelta(seconds=30)
# How long RSET, QUIT and finding this machine's name may take: nobody depends on them.
_POLITE_S = 2.0

# Done, and done but the user is elsewhere (RFC 5321 section 4.2.3).
_ACCEPTED = (250, 251)
_UNAVAILABLE = 421
_CONNECTION = "connection"


class SmtpMailer:
    """A Mailer with at most `connections` connections, each made when it is first needed."""

    def __init__(
        self, server: SmtpServer, connections: int, idle_at_most: timedelta = IDLE_AT_MOST
    ) -> None:
        self._server = server
        self._free = asyncio.Semaphore(connections)
        self._idle_at_most_s = idle_at_most.total_seconds()
        # Idle connections and since when, the longest idle first.
        self._idle: list[tuple[SMTP, float]] = []
        self._tidying: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._hello: str | None = None
        self._reachability = Reachability()

    async def send(self, mail: Mail) -> None:
        """Sends one e-mail; see Mailer.

        A connection that the server closed while it was idle is replaced, which is no failure.
        """
        async with self._free:
            while not await self._try(mail):
                pass

    async def close(self) -> None:
        """Says goodbye on the idle connections. No call of `send` may be running."""
        if self._tidying:
            self._tidying.cancel()
        self._close_idle(since=float("inf"))
        if self._closing:
            await asyncio.wait(self._closing)

    async def _try(self, mail: Mail) -> bool:
        """Sends the e-mail; returns False where the connection was found to be stale."""
        smtp = self._take_idle()
        reused = smtp is not None
        if smtp is None:
            smtp = await self._reachability.connected(self._connect)
        stage = "MAIL"
        sound = False
        try:
            if mail.needs_smtputf8 and not smtp.supports_extension("SMTPUTF8"):
                sound = True
                raise no_smtputf8(stage)
            if too_large := _too_large(smtp, mail):
                sound = True
                raise too_large
            of_mail, of_recipient = _options(smtp, mail)
            await _command(smtp, b"MAIL", f"FROM:<{mail.sender}>".encode(), *of_mail)
            stage = "RCPT"
            await _command(smtp, b"RCPT", f"TO:<{mail.recipient}>".encode(), *of_recipient)
            stage = "DATA"
            await smtp.data(mail.content)
            sound = True
        except SMTPResponseException as error:
            if reused and stage == "MAIL" and error.code == _UNAVAILABLE:
                return False
            sound = error.code != _UNAVAILABLE and await _reset(smtp)
            raise failure(
                stage, error.code, error.message, needs_smtputf8=mail.needs_smtputf8
            ) from error
        except SMTPServerDisconnected as error:
            if reused and stage == "MAIL":
                return False
            raise MailDelayedError(stage, detail="the connection was lost") from error
        except (SMTPException, OSError) as error:
            raise MailDelayedError(stage, detail=type(error).__name__) from error
        finally:
            if sound and smtp.is_connected:
                self._keep(smtp)
            else:
                _abort(smtp)
        return True

    async def _connect(self) -> SMTP:
        """Connects, encrypts and authenticates as the URL says."""
        server = self._server
        if self._hello is None:
            self._hello = await _hello()
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            local_hostname=self._hello,
            use_tls=server.implicit_tls,
            start_tls=server.starttls,
            tls_context=server.tls,
            timeout=None,
        )
        try:
            await smtp.connect()
            if smtp.is_ehlo_or_helo_needed:
                try:
                    await smtp.ehlo()
                except SMTPHeloError:
                    await smtp.helo()
        except BaseException as error:
            _abort(smtp)
            if isinstance(error, SMTPResponseException):
                raise failure(_CONNECTION, error.code, error.message) from error
            if isinstance(error, SMTPException | OSError):
                # From this side of the connection, so there is nobody's data in it.
                raise MailDelayedError(
                    _CONNECTION, detail=str(error), problem=UNREACHABLE
                ) from error
            raise
        return smtp

    def _take_idle(self) -> SMTP | None:
        while self._idle:
            smtp, _ = self._idle.pop()
            if smtp.is_connected:
                return smtp
        return None

    def _keep(self, smtp: SMTP) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((smtp, loop.time()))
        if self._tidying is None:
            self._tidying = loop.call_later(self._idle_at_most_s, self._tidy)

    def _tidy(self) -> None:
        """Closes what has been idle for too long, and comes back for the rest."""
        loop = asyncio.get_running_loop()
        self._close_idle(since=loop.time() - self._idle_at_most_s)
        self._tidying = (
            loop.call_at(self._idle[0][1] + self._idle_at_most_s, self._tidy)
            if self._idle
            else None
        )

    def _close_idle(self, since: float) -> None:
        while self._idle and self._idle[0][1] <= since:
            smtp, _ = self._idle.pop(0)
            task = asyncio.create_task(_quit(smtp))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _too_large(smtp: SMTP, mail: Mail) -> MailDelayedError | None:
    """Returns the refusal of an e-mail that is larger than what the server says it takes."""
    most = smtp.esmtp_extensions.get("size", "").strip()
    if not (most.isdecimal() and 0 < int(most) < len(mail.content)):
        return None
    problem = f"the mail server takes at most {int(most):,} bytes, and the e-mail has more"
    return MailDelayedError("MAIL", problem=problem, detail=problem, operators=True)


def _options(smtp: SMTP, mail: Mail) -> tuple[list[bytes], list[bytes]]:
    """Returns what MAIL and RCPT say beside the addresses, of what the server offers.

    The e-mail's size (RFC 1870), what in it is not 7-bit (RFC 6152, RFC 6531), and that reports are
    wanted of failure and delay, with the headers alone (RFC 3461).
    """
    of_mail, of_recipient = [], []
    if smtp.supports_extension("SIZE"):
        of_mail.append(b"SIZE=%d" % len(mail.content))
    if mail.needs_smtputf8:
        of_mail += [b"SMTPUTF8", b"BODY=8BITMIME"]
    if smtp.supports_extension("DSN"):
        of_mail.append(b"RET=HDRS")
        of_recipient.append(b"NOTIFY=FAILURE,DELAY")
    return of_mail, of_recipient


async def _command(smtp: SMTP, *words: bytes) -> None:
    """Gives a command of the envelope. Mail's addresses are sound, so they are not parsed again."""
    reply = await smtp.execute_command(*words)
    if reply.code not in _ACCEPTED:
        raise SMTPResponseException(reply.code, reply.message)


async def _reset(smtp: SMTP) -> bool:
    """Clears the envelope that was refused; returns whether the connection can be used again."""
    try:
        async with asyncio.timeout(_POLITE_S):
            await smtp.rset()
    except (SMTPException, OSError):
        return False
    return True


async def _quit(smtp: SMTP) -> None:
    try:
        async with asyncio.timeout(_POLITE_S):
            await smtp.quit()
    except (SMTPException, OSError):
        pass
    finally:
        _abort(smtp)


def _abort(smtp: SMTP) -> None:
    """Drops the connection without waiting for the server, which may have stopped reading."""
    transport = smtp.transport
    smtp.close()
    if transport is not None:
        cast("asyncio.WriteTransport", transport).abort()


async def _hello() -> str:
    """Returns how this machine introduces itself: its full name or, lacking one, an address."""
    try:
        async with asyncio.timeout(_POLITE_S):
            name = await asyncio.to_thread(socket.getfqdn)
    except TimeoutError:  # no name server answers
        name = ""
    return name if name.isascii() and "." in name else "[127.0.0.1]"
