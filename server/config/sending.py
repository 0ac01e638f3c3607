"""Settings of what goes out, e-mails and webhooks, and of e-mails that come back."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from server.config.fields import SECRET, Count, Limit, listed
from server.domain.hosts import can_be_looked_up
from server.worker.retry_policy import RetryPolicy
from server.worker.settings import RunnerSettings

_WORKER = RunnerSettings()
_RETRY = RetryPolicy()
_HOUR = timedelta(hours=1)


class SendingSettings(BaseSettings):
    """What goes out, e-mails and webhooks, and e-mails that come back."""

    smtp_url: str = Field(
        "",
        description="smtp[s]://[user:password@]host[:port]; default the local catcher",
        json_schema_extra=SECRET,
    )
    mail_from: str = Field("Billing <billing@example.com>", description="sender of the e-mails")
    mail_languages: str = Field(
        "en,ru",
        pattern="^(en|ru|en,ru|ru,en)$",
        description="languages of each e-mail, the first on top: en, ru or both",
    )
    mail_templates: str = Field("", description="folder with templates of e-mails in place of ours")
    mail_give_up_after_h: float = Field(
        _RETRY.give_up_after / _HOUR,
        gt=0,
        le=8760,
        description="how long an e-mail that the mail server does not take is tried again",
    )
    mail_first_retry_s: float = Field(
        _RETRY.first.total_seconds(), gt=0, le=604_800, description="delay before the second try"
    )
    mail_longest_retry_s: float = Field(
        _RETRY.longest.total_seconds(),
        gt=0,
        le=604_800,
        description="longest delay between two tries; delays double up to it",
    )
    mail_lease_s: float = Field(
        _WORKER.lease.total_seconds(),
        gt=0,
        le=86_400,
        description="after a process has crashed, time until another one sends its e-mails",
    )
    mail_connections: Count = Field(_WORKER.parallel, description="e-mails a process sends at once")
    mail_slow_connections: int = Field(
        _WORKER.extra_slots,
        ge=0,
        description="e-mails more at once, while as many have taken over 2 s",
    )
    bounce_domain: str = Field(
        "",
        pattern=r"^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*)?$",
        description="domain that e-mails come back to, each to an address of its own; `bounces` takes them",
    )
    reminders_d: str = Field(
        "",
        pattern=r"^(([1-9]|[12][0-9]|30)(,([1-9]|[12][0-9]|30)){0,4})?$",
        description="days before an invitation's end, such as 7,1, at which its invitee is reminded; default never",
    )
    bounce_secret: str = Field(
        "",
        pattern=r"^(whsec_[A-Za-z0-9+/]{32,88}={0,2})?$",
        description="whsec_… by which a relay signs its reports to POST /v1/bounces; default none",
        json_schema_extra=SECRET,
    )
    bounce_sns_topic: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256})?$",
        description="topic of Amazon SNS (arn:aws:sns:…) that SES reports to; default none",
    )
    dkim_key: str = Field(
        "", description="file,… with the private keys that sign e-mails, RSA or Ed25519, PEM"
    )
    dkim_selector: str = Field(
        "", description="selector,… of these keys in DNS, in the same order; one for each"
    )
    dkim_domain: str = Field(
        "", description="the domain that signs; default that of BILLING_MAIL_FROM"
    )
    mail_domain_connections: Limit = Field(
        0, description="e-mails a process sends to one recipient domain at once; 0 for any number"
    )
    mail_domain_rate: float = Field(
        0.0, ge=0, description="e-mails a second a process sends to one recipient domain; 0 for any"
    )
    mail_per_address_h: Limit = Field(
        20, description="e-mails to one address in an hour, of all resellers; 0 for any number"
    )
    mail_per_reseller_h: Limit = Field(
        50_000, description="e-mails of one reseller in an hour; 0 for any number"
    )
    mail_per_reseller_d: Limit = Field(
        200_000, description="e-mails of one reseller in a day; 0 for any number"
    )
    webhook_allow_private: bool = Field(
        False, description="webhooks may lead to this machine, by http too; for development"
    )
    webhook_proxy: str = Field(
        "",
        pattern=r"^(http://[^\s/?#]+/?)?$",
        description="http://[user:password@]host:port of the proxy that webhooks are reached through",
        json_schema_extra=SECRET,
    )

    @field_validator("webhook_proxy")
    @classmethod
    def _reachable(cls, value: str) -> str:
        # Else receivers would be blamed for what can't be sent to them.
        try:
            parts = urlsplit(value)
            fits = parts.port != 0 and can_be_looked_up(parts.hostname or "")
        except ValueError:
            fits = False
        if value and not fits:
            raise PydanticCustomError("proxy", "its host is no name, or its port not 1 to 65535")
        return value

    @property
    def dkim_keys(self) -> list[str]:
        """The files of the keys that sign e-mails."""
        return listed(self.dkim_key)

    @property
    def dkim_selectors(self) -> list[str]:
        """Their selectors, in the same order."""
        return listed(self.dkim_selector)

    @property
    def languages(self) -> list[str]:
        """The languages of each e-mail, the first on top."""
        return self.mail_languages.split(",")

    @property
    def templates(self) -> Path | None:
        """The folder of templates that are taken in place of ours."""
        return Path(self.mail_templates).expanduser() if self.mail_templates else None

    @property
    def reminder_days(self) -> tuple[int, ...]:
        """How many days before an invitation's end its invitee is reminded."""
        return tuple(int(day) for day in listed(self.reminders_d))
