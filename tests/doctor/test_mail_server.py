"""What is said of a mail server, by a real one."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from server.doctor.finding import Finding, Level
from server.doctor.mail_server import examine_mail_server
from server.worker.mail.smtp_server import SmtpServer
from tests.worker.mail_server import MailServer, saying, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def examined(url: str, timeout_s: float = 10.0) -> list[Finding]:
    return [each async for each in examine_mail_server(SmtpServer.from_url(url), timeout_s)]


def only_problem(findings: list[Finding]) -> Finding:
    assert [each.level for each in findings[:-1]] == [Level.OK] * (len(findings) - 1)
    assert findings[-1].level is Level.PROBLEM
    assert findings[-1].advice
    return findings[-1]


async def test_a_good_mail_server_has_no_problem(authority: trustme.CA, ca: Path) -> None:
    server = MailServer(tls=tls(authority), auth={b"user": b"secret"})
    async with serving(server):
        found = await examined(
            f"smtp://user:secret@127.0.0.1:{server.port}?starttls=required&ca={ca}"
        )
    assert {each.level for each in found} == {Level.OK}
    assert [each.text.split(":")[0] for each in found[1:]] == [
        "EHLO",
        "STARTTLS",
        "the log-in is accepted",
    ]
    assert server.received == []


async def test_a_mail_server_with_tls_from_the_start_has_no_problem(
    authority: trustme.CA, ca: Path
) -> None:
    server = MailServer(tls=tls(authority), starttls=False)
    async with serving(server, implicit_tls=True):
        found = await examined(f"smtps://127.0.0.1:{server.port}?ca={ca}")
    assert {each.level for each in found} == {Level.OK}


async def test_a_refused_log_in_tells_no_password(authority: trustme.CA, ca: Path) -> None:
    server = MailServer(tls=tls(authority), auth={b"user": b"secret"})
    async with serving(server):
        found = await examined(f"smtp://user:hunter2@127.0.0.1:{server.port}?ca={ca}")
    problem = only_problem(found)
    assert "refuses the log-in with 535" in problem.text
    assert "hunter2" not in str(found)


async def test_a_bad_certificate_of_the_mail_server_is_a_problem(
    authority: trustme.CA, ca: Path
) -> None:
    server = MailServer(tls=tls(authority, "mail.example.org"))
    async with serving(server):
        other_name = await examined(f"smtp://127.0.0.1:{server.port}?starttls=required&ca={ca}")
        stranger = await examined(f"smtp://127.0.0.1:{server.port}?starttls=required")
    for found in (other_name, stranger):
        assert "the certificate of" in only_problem(found).text


async def test_a_missing_starttls_log_in_or_server_is_a_problem(authority: trustme.CA) -> None:
    plain = MailServer(auth={b"user": b"x"}, auth_on_plain=True)
    async with serving(plain):
        url = f"smtp://user:x@127.0.0.1:{plain.port}?starttls=required"
        assert "offers no STARTTLS" in only_problem(await examined(url)).text
        assert "AUTH" not in plain.commands
    plain = MailServer()
    async with serving(plain):
        found = await examined(f"smtp://127.0.0.1:{plain.port}?starttls=required")
        assert "offers no STARTTLS" in only_problem(found).text
        assert plain.commands == ["EHLO"]
        found = await examined(f"smtp://user:x@127.0.0.1:{plain.port}")
        assert "offers no log-in" in only_problem(found).text
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await examined(f"smtp://127.0.0.1:{free.getsockname()[1]}")
    assert "can't be reached: nothing listens there" in only_problem(found).text
    found = await examined("smtp://mail.nowhere.invalid")
    assert "the name of mail.nowhere.invalid:25 leads to no address" in only_problem(found).text


async def test_a_server_that_speaks_no_smtp_refuses_or_is_silent_is_a_problem() -> None:
    async with saying(b"554 go away\r\n") as port:
        assert "answers 554" in only_problem(await examined(f"smtp://127.0.0.1:{port}")).text
    async with saying(b"HTTP/1.1 400 Bad Request\r\n") as port:
        assert "is no mail server" in only_problem(await examined(f"smtp://127.0.0.1:{port}")).text
    async with saying(b"", b"") as port:
        found = await examined(f"smtp://127.0.0.1:{port}", timeout_s=0.2)
        assert "does not answer in time" in only_problem(found).text
        found = await examined(f"smtps://127.0.0.1:{port}", timeout_s=0.2)
        assert only_problem(found)
