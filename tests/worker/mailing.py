"""An e-mail, and a mailer to send it with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from server.worker.mail.mailer import Mail
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer

SECRET = "canary"
MAIL = Mail(
    sender="billing@example.com",
    recipient=f"{SECRET}@example.com",
    content=b"Subject: hello\r\n\r\n.\r\n.one\r\ntwo\r\n",
)


@asynccontextmanager
async def mailing(
    url: str, connections: int = 2, idle_at_most: timedelta = timedelta(seconds=30)
) -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(SmtpServer.from_url(url), connections, idle_at_most)
    try:
        yield mailer
    finally:
        await mailer.close()
