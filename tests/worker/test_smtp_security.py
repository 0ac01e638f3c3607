"""The mailer among strangers: encryption, certificates, passwords."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from server.worker.mail.mailer import MailDelayedError
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from tests.worker.mail_server import MailServer, serving
from tests.worker.mailing import MAIL, mailing


class TestEncryption:
    async def test_starttls_is_used_when_offered(self, tls: ssl.SSLContext, ca: Path) -> None:
        async with (
            serving(MailServer(tls=tls)) as server,
            mailing(f"{server.url}?ca={ca}") as mailer,
        ):
            await mailer.send(MAIL)
            await mailer.send(MAIL)
        assert [received.tls for received in server.received] == [True, True]
        assert len(server.sessions) == 1

    async def test_starttls_can_be_forbidden(self, tls: ssl.SSLContext) -> None:
        server = MailServer(tls=tls)
        async with serving(server), mailing(f"{server.url}?starttls=never") as mailer:
            await mailer.send(MAIL)
        assert not server.received[0].tls

    async def test_starttls_can_be_required(self, mail_server: MailServer) -> None:
        async with mailing(f"{mail_server.url}?starttls=required") as mailer:
            with pytest.raises(MailDelayedError, match="STARTTLS"):
                await mailer.send(MAIL)
        assert mail_server.commands == ["EHLO"]

    async def test_smtps_sends_over_tls_from_the_start(self, tls: ssl.SSLContext, ca: Path) -> None:
        server = MailServer(tls=tls, starttls=False)
        async with serving(server, implicit_tls=True):
            url = f"smtps://127.0.0.1:{server.port}?ca={ca}"
            async with mailing(url) as mailer:
                await mailer.send(MAIL)
        assert len(server.received) == 1

    @pytest.mark.parametrize("implicit_tls", [False, True])
    @pytest.mark.parametrize("url", ["{0}://127.0.0.1:{1}", "{0}://localhost:{1}?ca={2}"])
    async def test_a_bad_certificate_is_a_delay(
        self, tls: ssl.SSLContext, ca: Path, implicit_tls: bool, url: str
    ) -> None:
        """An unknown authority, and a certificate for another host."""
        server = MailServer(tls=tls, starttls=not implicit_tls)
        async with serving(server, implicit_tls=implicit_tls):
            scheme = "smtps" if implicit_tls else "smtp"
            async with mailing(url.format(scheme, server.port, ca)) as mailer:
                with pytest.raises(MailDelayedError, match=r"(?i)certificate"):
                    await mailer.send(MAIL)
        assert "MAIL" not in server.commands


class TestAuthentication:
    url = "smtp://us%40er:pass%3Aword@127.0.0.1:{}"

    @pytest.fixture
    def server(self) -> MailServer:
        return MailServer(auth={b"us@er": b"pass:word"}, auth_on_plain=True)

    async def test_happens_once_for_a_connection(self, server: MailServer) -> None:
        async with serving(server), mailing(self.url.format(server.port)) as mailer:
            await mailer.send(MAIL)
            await mailer.send(MAIL)
        assert [received.user for received in server.received] == [b"us@er", b"us@er"]
        assert server.commands.count("AUTH") == 1

    async def test_a_password_is_sent_over_tls_alone(
        self, server: MailServer, tls: ssl.SSLContext, ca: Path
    ) -> None:
        server.tls, server.auth_on_plain = tls, False
        async with serving(server), mailing(f"{self.url.format(server.port)}?ca={ca}") as mailer:
            await mailer.send(MAIL)
        assert server.received[0].user == b"us@er"
        assert server.received[0].tls

    async def test_a_refused_login_is_a_delay(self, server: MailServer) -> None:
        server.auth.clear()
        async with serving(server), mailing(self.url.format(server.port)) as mailer:
            with pytest.raises(MailDelayedError, match=r"^connection: 535 5\.7\.8") as caught:
                await mailer.send(MAIL)
        assert "us@er" not in str(caught.value)
        assert "MAIL" not in server.commands

    async def test_a_login_that_is_not_offered_is_a_delay(self, mail_server: MailServer) -> None:
        async with mailing(self.url.format(mail_server.port)) as mailer:
            with pytest.raises(MailDelayedError, match="AUTH"):
                await mailer.send(MAIL)

    async def test_never_happens_without_tls_beyond_this_machine(
        self, server: MailServer, tls: ssl.SSLContext
    ) -> None:
        """A man in the middle who strips STARTTLS, or who has a certificate of his own."""
        distant = SmtpServer.from_url("smtp://us%40er:pass%3Aword@mail.example.com")
        for server.tls in (None, tls):
            async with serving(server):
                mailer = SmtpMailer(replace(distant, host="127.0.0.1", port=server.port), 1)
                with pytest.raises(MailDelayedError):
                    await mailer.send(MAIL)
                await mailer.close()
        assert "AUTH" not in server.commands
