"""The setting that names the SMTP server."""

import ssl
from pathlib import Path

import pytest
import trustme

from server.worker.mail.smtp_server import SmtpServer, SmtpUrlError


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "implicit_tls", "starttls"),
    [
        ("smtp://mail.example.com", "mail.example.com", 25, None, None, False, None),
        ("smtp://mail.example.com:2525/", "mail.example.com", 2525, None, None, False, None),
        ("SMTP://[::1]:1025", "::1", 1025, None, None, False, None),
        ("smtps://mail.example.com", "mail.example.com", 465, None, None, True, False),
        ("smtp://a%40b:p%3A%2Fw@mx.example.com", "mx.example.com", 587, "a@b", "p:/w", False, True),
        ("smtp://u:%D1%8F@mx.example.com:26", "mx.example.com", 26, "u", "я", False, True),
        ("smtps://u:p@mx.example.com", "mx.example.com", 465, "u", "p", True, False),
        ("smtp://u:p@localhost", "localhost", 587, "u", "p", False, None),
        ("smtp://u:p@127.0.0.1:25?starttls=never", "127.0.0.1", 25, "u", "p", False, False),
        ("smtp://mx.example.com?starttls=required", "mx.example.com", 25, None, None, False, True),
        ("smtp://mx.example.com?starttls=never", "mx.example.com", 25, None, None, False, False),
        ("smtp://u:@127.0.0.1", "127.0.0.1", 587, "u", "", False, None),
    ],
)
def test_a_url_is_read_into_host_port_login_and_tls(
    url: str,
    host: str,
    port: int,
    user: str | None,
    password: str | None,
    implicit_tls: bool,
    starttls: bool | None,
) -> None:
    server = SmtpServer.from_url(url)
    assert (server.host, server.port) == (host, port)
    assert (server.user, server.password) == (user, password)
    assert (server.implicit_tls, server.starttls) == (implicit_tls, starttls)
    assert server.tls.verify_mode is ssl.CERT_REQUIRED
    assert server.tls.check_hostname


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "smtp:// or smtps://"),
        ("mail.example.com:25", "smtp:// or smtps://"),
        ("http://mail.example.com", "smtp:// or smtps://"),
        ("smtp://", "host"),
        ("smtp://:25", "host"),
        ("smtp://mail.example.com:0", "port"),
        ("smtp://mail.example.com:99999", "port"),
        ("smtp://mail.example.com:mail", "port"),
        ("smtp://[::1", "malformed"),
        (f"smtp://{'a' * 64}.example.com", "its host is no name"),
        ("smtp://mail..example.com", "its host is no name"),
        ("smtp://mail example.com", "its host is no name"),
        ("smtp://mail.example.com/path", "nothing but"),
        ("smtp://mail.example.com#x", "nothing but"),
        ("smtp://user-secret@mail.example.com", "user and password both"),
        ("smtp://:password-secret@mail.example.com", "user and password both"),
        ("smtp://u:%ff-secret@mail.example.com", "percent-encoded"),
        ("smtp://u:secret@mail.example.com?starttls=never", "without TLS"),
        ("smtp://mail.example.com?starttls=maybe", "offered, required, never"),
        ("smtps://mail.example.com?starttls=required", "TLS from the start"),
        ("smtp://mail.example.com?tls=1", "starttls and ca"),
        ("smtp://mail.example.com?ca=/nowhere/secret.pem", "readable file"),
    ],
)
def test_says_in_one_line_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(SmtpUrlError) as caught:
        SmtpServer.from_url(url)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_trusts_the_given_authority_alone(tmp_path: Path) -> None:
    authority = tmp_path / "my ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    quoted = str(authority).replace(" ", "%20")
    server = SmtpServer.from_url(f"smtps://mail.example.com?ca={quoted}")
    assert len(server.tls.get_ca_certs()) == 1
    authority.write_text("no certificate")
    with pytest.raises(SmtpUrlError):
        SmtpServer.from_url(f"smtps://mail.example.com?ca={quoted}")


def test_does_not_show_the_password() -> None:
    server = SmtpServer.from_url("smtp://user:secret@localhost")
    assert "secret" not in repr(server)
