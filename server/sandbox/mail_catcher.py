"""A mail server for development: takes all e-mails and keeps each as a file."""

import asyncio
import ipaddress
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from files.private import make_private_folder, open_private

_log = logging.getLogger(__name__)
_WRITERS = 8


class Catcher:
    """A mail catcher; `start_catcher` makes one that runs. `port` is where it listens."""

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder, with_contents=True)
        self.port = 0
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._sessions: set[SMTP] = set()
        self._writers = ThreadPoolExecutor(_WRITERS, "catcher")
        self._last_ns = 0

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError where it can't listen."""
        self._server = await asyncio.get_running_loop().create_server(self._session, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Takes no more e-mails and closes all connections."""
        if self._server:
            self._server.close()
            for session in self._sessions:
                if session.transport:
                    session.transport.close()
            await self._server.wait_closed()
        await asyncio.to_thread(self._writers.shutdown)

    def _session(self) -> SMTP:
        # Named, because it would look the machine's name up for each connection otherwise.
        session = SMTP(
            self, enable_SMTPUTF8=True, hostname="localhost", loop=asyncio.get_running_loop()
        )
        self._sessions = {known for known in self._sessions if known.transport} | {session}
        return session

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keeps the e-mail; answers once it is on disk."""
        content = envelope.original_content
        assert isinstance(content, bytes)  # noqa: S101 - decode_data is off
        await asyncio.get_running_loop().run_in_executor(
            self._writers, self._write, self._next_name(), envelope, content
        )
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        """Answers a client whose e-mail could not be kept."""
        _log.error("an e-mail was not kept: %s", type(error).__name__)
        return "451 4.3.0 The e-mail could not be kept"

    def _next_name(self) -> str:
        """Returns a name that comes after all earlier ones, of other runs too."""
        self._last_ns = max(self._last_ns + 1, time.time_ns())
        seconds, fraction = divmod(self._last_ns, 10**9)
        at = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        return f"{at}.{fraction:09d}Z.eml"

    def _write(self, name: str, envelope: Envelope, content: bytes) -> None:
        headers = [f"Return-Path: <{envelope.mail_from}>"]
        for recipient in envelope.rcpt_tos:
            headers += [f"Delivered-To: {recipient}", f"X-Envelope-To: {recipient}"]
        temporary = self._folder / f".{name}.tmp"
        with open_private(temporary, "wb") as out:
            out.write("".join(f"{header}\r\n" for header in headers).encode())
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self._folder / name)


async def start_catcher(folder: Path, host: str, port: int) -> Catcher:
    """Starts a mail catcher in the running loop; port 0 takes a free one.

    Each e-mail becomes one `.eml` file in `folder`, with the envelope's addresses in front; names
    sort by arrival. Raises ValueError for a host that is not loopback, OSError where it can't listen.
    """
    catcher = Catcher(folder)
    await listen_on_loopback(catcher, host, port)
    return catcher


async def listen_on_loopback(catcher: Catcher, host: str, port: int) -> None:
    """Has a catcher listen; raises what `start_catcher` does."""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError("the mail catcher listens on loopback only")
    # It logs the addresses in every e-mail.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    await catcher.listen(host, port)
