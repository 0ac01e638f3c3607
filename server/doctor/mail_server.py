"""Whether the mail server takes e-mails from here: connection, EHLO, TLS, log-in. None is sent."""

import socket
import ssl
from collections.abc import AsyncIterator

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from server.doctor.finding import Finding, Level, ok, problem, warning
from server.worker.mail.smtp_server import SmtpServer, is_loopback

_TIMEOUT_S = 10.0
_SUBJECT = "mail server"


async def examine_mail_server(
    server: SmtpServer, timeout_s: float = _TIMEOUT_S
) -> AsyncIterator[Finding]:
    """Yields what each step finds; ends where there is no going on."""
    where = f"{server.host}:{server.port}"
    smtp = SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.implicit_tls,
        start_tls=False,
        tls_context=server.tls,
        timeout=timeout_s,
    )
    try:
        await smtp.connect()
        yield ok(_SUBJECT, f"{where} answers{' over TLS' if server.implicit_tls else ''}")
        reply = await smtp.ehlo()
        yield ok(_SUBJECT, f"EHLO: {reply.code}, {len(smtp.esmtp_extensions)} extensions")
        encrypted = await _encrypt(smtp, server, where)
        yield encrypted
        if encrypted.level is Level.PROBLEM:
            return  # a password would go out in plain text
        if server.user is not None and server.password is not None:
            yield await _log_in(smtp, server.user, server.password, where)
        if not smtp.supports_extension("smtputf8"):
            yield warning(
                _SUBJECT,
                "it has no SMTPUTF8",
                "invitations to addresses with non-ASCII characters before the @ will fail",
            )
    except (SMTPException, OSError) as error:
        yield _failure(error, where)
    finally:
        smtp.close()


async def _encrypt(smtp: SMTP, server: SmtpServer, where: str) -> Finding:
    """Has STARTTLS made where the setting asks for it or the server offers it."""
    if server.implicit_tls:
        return ok(_SUBJECT, "TLS: its certificate is good")
    offered = smtp.supports_extension("starttls")
    if server.starttls and not offered:
        return problem(
            _SUBJECT,
            f"{where} offers no STARTTLS, which is required here",
            "use smtps:// if the port has TLS from the start, or another port",
        )
    if server.starttls is not False and offered:
        await smtp.starttls()
        await smtp.ehlo()
        return ok(_SUBJECT, "STARTTLS: its certificate is good")
    if is_loopback(server.host):
        return ok(_SUBJECT, "without TLS, on this machine")
    return warning(
        _SUBJECT,
        "e-mails go there unencrypted, links and all",
        "use smtps:// or a server with STARTTLS, and ?starttls=required",
    )


async def _log_in(smtp: SMTP, user: str, password: str, where: str) -> Finding:
    if not smtp.supports_extension("auth"):
        return problem(
            _SUBJECT,
            f"{where} offers no log-in",
            "use its submission port (587 or 465), or leave user and password out of BILLING_SMTP_URL",
        )
    await smtp.login(user, password)
    return ok(_SUBJECT, "the log-in is accepted")


def _failure(error: Exception, where: str) -> Finding:
    """Returns what became of the connection, in words that quote neither password nor answer."""
    cause = _cause(error, ssl.SSLError)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return problem(
            _SUBJECT,
            f"the certificate of {where} is not good: {cause.verify_message}",
            "name the host as its certificate does in BILLING_SMTP_URL, or a CA of your own by ?ca=",
        )
    if cause is not None:
        return problem(
            _SUBJECT,
            f"TLS with {where} fails",
            "smtps:// is for ports with TLS from the start (465), smtp:// for STARTTLS (587, 25)",
        )
    if isinstance(error, SMTPAuthenticationError):
        return problem(
            _SUBJECT,
            f"{where} refuses the log-in with {error.code}",
            "mend user and password in BILLING_SMTP_URL, percent-encoded",
        )
    if isinstance(error, SMTPResponseException) and error.code < 0:
        return problem(
            _SUBJECT, f"{where} is no mail server", "look at host and port in BILLING_SMTP_URL"
        )
    if isinstance(error, SMTPResponseException):
        return problem(
            _SUBJECT, f"{where} answers {error.code}", "ask whoever runs the mail server"
        )
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        return problem(
            _SUBJECT,
            f"{where} does not answer in time",
            "look at host and port in BILLING_SMTP_URL, and at firewalls on the way (25 is often shut)",
        )
    if _cause(error, socket.gaierror):
        return problem(
            _SUBJECT,
            f"the name of {where} leads to no address",
            "look at the host in BILLING_SMTP_URL, at /etc/resolv.conf and at the name servers",
        )
    if _cause(error, ConnectionRefusedError):
        why = "nothing listens there"
    elif isinstance(error, SMTPServerDisconnected):
        why = "it closes the connection"
    else:
        why = type(_cause(error, OSError) or error).__name__
    return problem(
        _SUBJECT, f"{where} can't be reached: {why}", "look at host and port in BILLING_SMTP_URL"
    )


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Returns the first of its causes that is of this kind, itself among them."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause
