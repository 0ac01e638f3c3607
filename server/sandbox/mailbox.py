"""The sandbox's mail server: keeps e-mails as the catcher does, and has test recipients."""

from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from server.sandbox.emails import Emails
from server.sandbox.mail_catcher import Catcher
from server.sandbox.recipients import Recipients


class Mailbox(Catcher):
    """A running mail server."""

    def __init__(self, folder: Path, emails: Emails, recipients: Recipients) -> None:
        super().__init__(folder)
        self._emails = emails
        self._recipients = recipients

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Takes a recipient, or not, as its address says."""
        refusal = self._recipients.refusal(address)
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keeps the e-mail, and has its recipient do what the address says."""
        answer = await super().handle_DATA(server, session, envelope)
        content = envelope.original_content
        assert isinstance(content, bytes)  # noqa: S101 - decode_data is off
        for address in envelope.rcpt_tos:
            email = await self._emails.note(address, content)
            if email:
                self._recipients.taken(email, envelope.mail_from or "")
        return answer
