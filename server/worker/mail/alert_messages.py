"""What e-mails about webhooks that fail say, from the templates."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from email.headerregistry import Address
from pathlib import Path
from urllib.parse import urlsplit

from server.domain.brands import Brand
from server.domain.display import isolated, shown
from server.languages import LanguageCode, time_in_words
from server.storage.interface import AlertKind, WebhookAlert
from server.worker.mail.addresses import parse_recipient, parse_sender, parse_support
from server.worker.mail.mailer import Mail
from server.worker.mail.messages import template_environment, template_errors
from server.worker.mail.mime import (
    EOL,
    constant_headers,
    date,
    encoded_subject,
    folded,
    in_ascii,
    new_boundary,
    part,
)

_LONGEST_DESCRIPTION = 200


class AlertMessages:
    """Makes e-mails to those who look after a webhook, in the form of all others.

    Arguments as of `MessageBuilder`, which refuses those that can't be used, but for templates.
    Raises MessageSettingError for these.
    """

    def __init__(
        self,
        sender: str,
        now: Callable[[], datetime],
        brand: Brand | None = None,
        languages: Sequence[str] = ("en",),
        zone: tzinfo = UTC,
        templates: Path | None = None,
    ) -> None:
        brand = brand or Brand()
        name, self._sender = parse_sender(sender)
        self._domain = self._sender.rpartition("@")[2]
        self._now = now
        self._zone = zone
        self._languages = [LanguageCode(each) for each in languages]
        self._headers = constant_headers(Address(name, addr_spec=self._sender), languages)
        support = brand.support and parse_support(brand.support)
        self._reply_to = f"Reply-To: {support}\r\n" if support else ""
        environment = template_environment(brand, languages, templates)
        with template_errors():
            self._subject = environment.get_template(f"{languages[0]}/alert.subject")
            self._text = environment.get_template("message.txt")
            self._html = environment.get_template("message.html")
            if templates is not None:
                self._check()

    def _check(self) -> None:
        """Renders each template in every form that it can take. Raises TemplateError."""
        at = self._now()
        for kind in AlertKind:
            for description, error in (("", ""), ("Orders", "HTTP 410")):
                self.alert(
                    WebhookAlert(
                        *(0, 1, at, at, kind, "reseller", "whk", "https://example.com/"),
                        *(description, None, "", error, at),
                    ),
                    "someone@example.com",
                )

    def alert(self, alert: WebhookAlert, recipient: str) -> Mail:
        """Returns the e-mail; its Message-ID is the same for each attempt.

        Raises MailRefusedError for an address that no e-mail can be sent to.
        """
        recipient = parse_recipient(recipient)
        at = alert.disabled_at.astimezone(UTC).replace(second=0, microsecond=0)
        description = shown(alert.description, _LONGEST_DESCRIPTION) if alert.description else ""
        facts = {
            "kind": "alert",
            "is_disabled": alert.kind is AlertKind.DISABLED,
            "id": alert.webhook_id,
            "name": f"resellers/{alert.reseller_id}/webhooks/{alert.webhook_id}",
            # Paths and queries of URLs may hold secrets.
            "host": urlsplit(alert.url).netloc,
            "description": description,
            "error": alert.error,
            "is_gone": alert.error == "HTTP 410",
            "at": {each: time_in_words(at, self._zone, each) for each in self._languages},
        }
        subject = self._subject.render(facts).strip()
        text = self._text.render({**facts, "description": description and isolated(description)})
        html = in_ascii(self._html.render(facts, subject=subject))
        key = f"{alert.webhook_id}.{alert.kind}.{alert.disabled_at:%Y%m%d%H%M%S}"
        boundary = new_boundary()
        content = (
            f"{self._headers}"
            f"To: {recipient}\r\n"
            f"{self._reply_to}"
            f"Subject: {encoded_subject(subject)}\r\n"
            f"Date: {date(self._now().replace(microsecond=0))}\r\n"
            f"Message-ID: <{key}@{self._domain}>\r\n"
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'
            f"\r\n"
            f"--{boundary}\r\n{part('plain', folded(text.replace(chr(10), EOL)))}\r\n"
            f"--{boundary}\r\n{part('html', html.replace(chr(10), EOL))}\r\n"
            f"--{boundary}--\r\n"
        )
        return Mail(self._sender, recipient, content.encode())
