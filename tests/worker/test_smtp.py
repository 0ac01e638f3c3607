"""The mailer against a real SMTP server."""

import asyncio
import socket
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from server.worker.mail import smtp
from server.worker.mail.mailer import MailDelayedError, MailError, MailRefusedError
from tests.worker.mail_server import OK, MailServer, hang_up, saying, serving
from tests.worker.mailing import MAIL, SECRET, mailing


async def test_sends_the_e_mail_as_it_is(mail_server: MailServer) -> None:
    async with mailing(mail_server.url) as mailer:
        await mailer.send(MAIL)
    (received,) = mail_server.received
    assert received.sender == MAIL.sender
    assert received.recipients == [MAIL.recipient]
    assert received.content == MAIL.content


async def test_uses_one_connection_for_many_e_mails(mail_server: MailServer) -> None:
    async with mailing(mail_server.url) as mailer:
        for _ in range(5):
            await mailer.send(MAIL)
    assert len(mail_server.received) == 5
    assert len(mail_server.sessions) == 1
    # Nothing is said beyond what the e-mails need.
    assert mail_server.commands == ["EHLO", *["MAIL", "RCPT", "DATA"] * 5, "QUIT"]


async def test_has_no_more_connections_than_told(mail_server: MailServer) -> None:
    mail_server.gates["RCPT"] = asyncio.Event()
    async with mailing(mail_server.url, connections=2) as mailer, asyncio.TaskGroup() as sends:
        for _ in range(6):
            sends.create_task(mailer.send(MAIL))
        await mail_server.until(2, "RCPT")
        assert len(mail_server.sessions) == 2
        mail_server.gates["RCPT"].set()
    assert len(mail_server.received) == 6
    assert len(mail_server.sessions) == 2


async def test_replaces_a_connection_that_was_closed_while_idle(mail_server: MailServer) -> None:
    async with mailing(mail_server.url) as mailer:
        await mailer.send(MAIL)
        hang_up(mail_server.sessions[0])
        await mailer.send(MAIL)
        assert len(mail_server.received) == 2
        assert len(mail_server.sessions) == 2


async def test_replaces_a_connection_that_ends_as_it_is_used_again(mail_server: MailServer) -> None:
    async with mailing(mail_server.url) as mailer:
        await mailer.send(MAIL)
        mail_server.replies["MAIL"] = ["421 4.4.2 mail.test idle for too long"]
        await mailer.send(MAIL)
        mail_server.drops = {"MAIL"}
        retried = asyncio.create_task(mailer.send(MAIL))
        await mail_server.until(4, "MAIL")
        mail_server.drops.clear()
        await retried
    assert len(mail_server.received) == 3
    assert len(mail_server.sessions) == 3


async def test_a_new_connection_that_ends_is_a_failure(mail_server: MailServer) -> None:
    mail_server.replies["MAIL"] = ["421 4.3.2 shutting down"]
    async with mailing(mail_server.url) as mailer:
        with pytest.raises(MailDelayedError, match=r"^MAIL: 421 4\.3\.2$"):
            await mailer.send(MAIL)
        mail_server.drops = {"MAIL"}
        with pytest.raises(MailDelayedError, match="connection was lost"):
            await mailer.send(MAIL)
        mail_server.drops.clear()
        await mailer.send(MAIL)


async def test_closes_connections_that_nobody_uses(mail_server: MailServer) -> None:
    async with mailing(mail_server.url, idle_at_most=timedelta(milliseconds=20)) as mailer:
        await asyncio.gather(mailer.send(MAIL), mailer.send(MAIL))
        await mail_server.until(2, "QUIT")
        await mailer.send(MAIL)
        await mail_server.until(3, "QUIT")


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "lasting_at", "status"),
    [
        (f"550 5.1.1 <{SECRET}@example.com> is unknown", {"RCPT", "DATA"}, "5.1.1"),
        ("550 Mailbox unavailable", {"RCPT"}, None),
        ("550 5.7.1 Relaying denied", set(), "5.7.1"),
        ("554 Transaction failed", set(), None),
        ("552-5.2.2 The mailbox\r\n552 5.2.2 is full", {"RCPT", "DATA"}, "5.2.2"),
        ("501 5.1.3x Bad address", set(), None),
        (f"451 4.7.1 Greylisted, {SECRET}", set(), "4.7.1"),
        ("450 Busy", set(), None),
        ("421 4.3.2 Going down", set(), "4.3.2"),
        ("530 5.7.0 Authentication required", set(), "5.7.0"),
        ("503 5.5.1 Bad sequence of commands", set(), "5.5.1"),
        ("299 What", set(), None),
        ("what is this", set(), None),
    ],
)
async def test_tells_lasting_refusals_from_others(
    mail_server: MailServer, command: str, reply: str, lasting_at: set[str], status: str | None
) -> None:
    mail_server.replies[command] = [reply]
    async with mailing(mail_server.url) as mailer:
        with pytest.raises(MailError) as caught:
            await mailer.send(MAIL)
        await mailer.send(replace(MAIL, recipient="other@example.com"))
    error = caught.value
    assert isinstance(error, MailRefusedError) is (command in lasting_at)
    assert error.stage == command
    assert error.code == (int(reply[:3]) if reply[:3].isdigit() else None)
    assert error.status == status
    assert SECRET not in str(error)
    assert [received.recipients for received in mail_server.received] == [["other@example.com"]]


async def test_a_refusal_costs_no_connection(mail_server: MailServer) -> None:
    mail_server.replies["RCPT"] = ["550 no", "450 later", OK]
    async with mailing(mail_server.url) as mailer:
        for expected in (MailRefusedError, MailDelayedError):
            with pytest.raises(expected):
                await mailer.send(MAIL)
        await mailer.send(MAIL)
    assert len(mail_server.sessions) == 1


@pytest.mark.parametrize("drop", ["RCPT", "BODY", "DATA"])
async def test_a_connection_lost_on_the_way_is_a_delay(mail_server: MailServer, drop: str) -> None:
    async with mailing(mail_server.url) as mailer:
        await mailer.send(MAIL)
        mail_server.drops = {drop}
        with pytest.raises(MailDelayedError, match="connection was lost"):
            await mailer.send(MAIL)
        # It may have been taken, so it is not sent again at once.
        assert mail_server.commands.count("MAIL") == 2
        mail_server.drops.clear()
        await mailer.send(MAIL)


async def test_a_cancelled_send_leaves_no_half_used_connection(mail_server: MailServer) -> None:
    async with mailing(mail_server.url, connections=1) as mailer:
        mail_server.gates["RCPT"] = asyncio.Event()
        hanging = asyncio.create_task(mailer.send(MAIL))
        await mail_server.until(1, "RCPT")
        hanging.cancel()
        await asyncio.wait({hanging})
        del mail_server.gates["RCPT"]
        await mailer.send(replace(MAIL, recipient="other@example.com"))
    assert [received.recipients for received in mail_server.received] == [["other@example.com"]]
    assert len(mail_server.sessions) == 2


async def test_nobody_listening_is_a_delay(unused_tcp_port: int) -> None:
    async with mailing(f"smtp://127.0.0.1:{unused_tcp_port}") as mailer:
        with pytest.raises(MailDelayedError, match=r"^connection: .*127\.0\.0\.1"):
            await mailer.send(MAIL)


@pytest.mark.parametrize(
    "lines",
    [
        [b"554 5.7.1 Go away\r\n"],
        [b"220 hello\r\n", b"502 no\r\n", b"502 no\r\n"],
        [b"\xff\xfe nonsense\r\n"],
        [b"220 hello\r\n", b"a" * 100_000],
        [],
    ],
)
async def test_a_server_that_is_no_use_is_a_delay(lines: list[bytes]) -> None:
    async with saying(*lines) as port, mailing(f"smtp://127.0.0.1:{port}") as mailer:
        with pytest.raises(MailDelayedError, match=r"^connection"):
            await mailer.send(MAIL)


async def test_talks_to_servers_from_before_ehlo(mail_server: MailServer) -> None:
    mail_server.replies["EHLO"] = ["502 5.5.1 Not here"]
    async with mailing(f"{mail_server.url}?starttls=never") as mailer:
        await mailer.send(MAIL)
    assert len(mail_server.received) == 1


@pytest.mark.parametrize(
    ("name", "hello"),
    [
        ("host.example.com", "host.example.com"),
        ("host", "[127.0.0.1]"),
        ("хост.рф", "[127.0.0.1]"),
        (None, "[127.0.0.1]"),
    ],
)
async def test_the_mailer_introduces_itself_by_its_name_or_address(
    mail_server: MailServer, monkeypatch: pytest.MonkeyPatch, name: str | None, hello: str
) -> None:
    """By its name; None stands for name servers that never answer."""
    answered = threading.Event()

    def getfqdn() -> str:
        return name if name is not None else f"late.example.com{answered.wait() or ''}"

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    monkeypatch.setattr(smtp, "_POLITE_S", 0.05)
    try:
        async with mailing(mail_server.url) as mailer:
            await mailer.send(MAIL)
    finally:
        answered.set()
    session = mail_server.sessions[0].session
    assert session
    assert session.host_name == hello


class TestInternationalAddresses:
    mail = replace(
        MAIL, recipient="почта@пример.рф", content="To: почта@пример.рф\r\n\r\n".encode()
    )

    async def test_are_sent_with_smtputf8(self, mail_server: MailServer) -> None:
        async with mailing(mail_server.url) as mailer:
            await mailer.send(self.mail)
            await mailer.send(MAIL)
        first, second = mail_server.received
        assert first.recipients == ["почта@пример.рф"]
        assert first.content == self.mail.content
        assert "SMTPUTF8" in first.options
        assert "SMTPUTF8" not in second.options

    async def test_are_refused_where_the_server_has_no_smtputf8(self) -> None:
        async with serving(MailServer(smtputf8=False)) as server, mailing(server.url) as mailer:
            with pytest.raises(MailRefusedError, match="SMTPUTF8"):
                await mailer.send(self.mail)
            await mailer.send(MAIL)
            assert len(server.sessions) == 1
            assert len(server.received) == 1


async def test_what_is_larger_than_the_server_takes_is_not_sent() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        heard.append(await reader.readline())
        writer.write(b"250-here\r\n250 SIZE %d\r\n" % (len(MAIL.content) - 1))
        heard.append(await reader.readline())
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        async with mailing(f"smtp://127.0.0.1:{port}") as mailer:
            with pytest.raises(MailDelayedError, match="takes at most") as found:
                await mailer.send(MAIL)
    assert found.value.operators
    assert not found.value.may_have_arrived
    assert heard[1] in (b"QUIT\r\n", b"")


@pytest.mark.parametrize(
    ("offered", "mail_options", "rcpt_options"),
    [
        (b"", b"", b""),
        (b"250-SIZE 1000000\r\n", b" SIZE=%d" % len(MAIL.content), b""),
        (b"250-DSN\r\n250-8BITMIME\r\n", b" RET=HDRS", b" NOTIFY=FAILURE,DELAY"),
        (
            b"250-SIZE\r\n250-SMTPUTF8\r\n250-DSN\r\n",
            b" SIZE=%d RET=HDRS" % len(MAIL.content),
            b" NOTIFY=FAILURE,DELAY",
        ),
    ],
)
async def test_what_a_server_offers_is_used(
    offered: bytes, mail_options: bytes, rcpt_options: bytes
) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        for answer in (b"250-here\r\n" + offered + b"250 HELP\r\n", *[b"250 OK\r\n"] * 2):
            heard.append(await reader.readline())
            writer.write(answer)
        await reader.readline()
        writer.write(b"354 Go on\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 OK\r\n")
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        async with mailing(f"smtp://127.0.0.1:{port}") as mailer:
            await mailer.send(MAIL)
    assert heard[1:] == [
        b"MAIL FROM:<%s>%s\r\n" % (MAIL.sender.encode(), mail_options),
        b"RCPT TO:<%s>%s\r\n" % (MAIL.recipient.encode(), rcpt_options),
    ]
