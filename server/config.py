"""All settings; `settings_sources.py` reads them.

Longer than others: each setting stands here once, with its description and its check.
"""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.domain.brands import Brand
from server.domain.limits import Limits
from server.worker.retry_policy import RetryPolicy
from server.worker.settings import RunnerSettings

_WORKER = RunnerSettings()
_RETRY = RetryPolicy()
_HOUR = timedelta(hours=1)

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
# As the Origin header has it: in lower case, without a path; a standard port is left out there.
_ORIGIN = r"(http|https)://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?"
_REDUNDANT_PORT = re.compile(r"http:.*:80|https:.*:443")
# Holds a password: `settings` hides it, and a file can hold it, whose path stands in …_FILE.
_SECRET: JsonDict = {"secret": True}
# 0 for none.
Limit = Annotated[int, Field(ge=0, le=10**9)]
# Where the code is, unless it has been installed elsewhere.
_CHECKOUT = Path(__file__).parent.parent


def in_checkout() -> bool:
    """Tells whether this code stands in a checkout, whose folder var is then the default."""
    return (_CHECKOUT / "pyproject.toml").is_file()


class SettingsError(Exception):
    """A setting that can't be used; the text names it and says what it should be."""


class Settings(BaseSettings):
    """Every setting with its default. Times in the name's unit: `_s` seconds, `_h` hours, `_d` days."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", frozen=True)

    var: Path = Field(
        Path("var"), description="all that a run keeps: database, mail, keys, logs; in the checkout"
    )
    config: str = Field(
        "",
        description="TOML file of settings, `http_port = 8080`; what the environment has goes before it",
    )
    http_port: Port = Field(8080, description="Envoy: REST and gRPC without TLS, loopback only")
    https_port: Port = Field(8443, description="Envoy: REST and gRPC over TLS")
    grpc_port: Port = Field(50051, description="the gRPC server itself")
    smtp_port: Port = Field(1025, description="the local mail catcher")
    log_format: str = Field(
        "text", pattern="^(text|json)$", description="of the log: lines of text, or of JSON"
    )
    log_level: str = Field(
        "info",
        pattern="^(debug|info|warning|error)$",
        description="from which level on lines are written; calls that went well are told at info",
    )
    access_log: str = Field(
        "",
        description="where the gateway writes its access log: a file, or stdout; default logs/access.log in var",
    )
    traces_url: str = Field(
        "",
        pattern=r"^(https?://[^\s/?#@]+/?)?$",
        description="http://host:4318 of an OpenTelemetry collector that traces are sent to by OTLP; default none",
    )
    metrics_address: str = Field(
        "127.0.0.1", description="where each process tells metrics and health, unencrypted"
    )
    metrics_port: Port = Field(
        9464, description="its port; the next free one where another process has that"
    )
    bounce_port: Port = Field(1026, description="what takes e-mails that come back")
    endpoint: str = Field(
        "",
        pattern=r"^([^\s:/]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$|^$",
        description="host:port that discovery gives to all; default what a client came to by TLS",
    )
    address: str = Field(
        "127.0.0.1", description="where Envoy serves TLS; beyond loopback it needs a certificate"
    )
    tls_certificate: str = Field(
        "", description="certificate chain, PEM; taken up anew when it changes; default made in var"
    )
    tls_key: str = Field("", description="its private key, PEM")
    servers: str = Field(
        "",
        pattern=r"^[^\s,]*(, *[^\s,]+)*$",
        description="host:port,… that `gateway` balances; default the one on this machine",
    )
    trusted_proxies: str = Field(
        "",
        description="CIDR,… of proxies in front of Envoy, for servers of Envoys on other machines, whose X-Forwarded-For counts",
    )
    cors_origins: str = Field(
        "",
        description="origins (https://app.example.com,…) whose scripts may call; default none",
    )
    workers: Count = Field(1, description="server processes that `make run` starts")

    keys: str = Field(
        "", description="folder of the keys that sign IAM tokens; default keys in var"
    )
    iam_endpoints: str = Field(
        "",
        pattern=r"^[^\s,]*(, *[^\s,]+)*$",
        description="host:port,… that clients sign their requests for tokens for; this machine's always",
    )
    oidc_issuer: str = Field("", description="an outside issuer whose tokens are accepted too")
    oidc_audience: str = Field("", description="the audience that those tokens must be for")
    oidc_jwks: str = Field(
        "", pattern=r"^(https://|/|$)", description="that issuer's key set: https URL or /file"
    )

    database_url: str = Field(
        "",
        description="sqlite:///… or postgresql://…; default SQLite in var",
        json_schema_extra=_SECRET,
    )
    database_pooled: bool = Field(
        False, description="that URL leads to a pooler in transaction mode, such as PgBouncer"
    )
    database_direct_url: str = Field(
        "",
        description="the database past that pooler, to listen to other processes, `migrate` and `check`",
        json_schema_extra=_SECRET,
    )
    smtp_url: str = Field(
        "",
        description="smtp[s]://[user:password@]host[:port]; default the local catcher",
        json_schema_extra=_SECRET,
    )
    mail_from: str = Field("Billing <billing@example.com>", description="sender of the e-mails")
    mail_languages: str = Field(
        "en,ru",
        pattern="^(en|ru|en,ru|ru,en)$",
        description="of each e-mail, the first on top: an invitee's own is not known",
    )
    mail_templates: str = Field(
        "", description="folder with templates of e-mails that are taken in place of ours"
    )
    mail_give_up_after_h: float = Field(
        _RETRY.give_up_after / _HOUR,
        gt=0,
        description="how long an e-mail that is not taken is tried again",
    )
    mail_first_retry_s: float = Field(
        _RETRY.first.total_seconds(), gt=0, description="delay before the second try"
    )
    mail_longest_retry_s: float = Field(
        _RETRY.longest.total_seconds(), gt=0, description="delays double up to this"
    )
    mail_lease_s: float = Field(
        _WORKER.lease.total_seconds(), gt=0, description="after a crash, time until another sends"
    )
    mail_connections: Count = Field(_WORKER.parallel, description="e-mails a process sends at once")
    mail_slow_connections: int = Field(
        _WORKER.extra_slots, ge=0, description="more of them, in place of those that take over 2 s"
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
        json_schema_extra=_SECRET,
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
    invitation_url: str = Field(
        "", description="what the link in the e-mail begins with; default the gateway's page"
    )
    invitation_lifetime_d: Count = Field(30, description="how long an invitation can be accepted")
    resend_interval_s: float = Field(
        60.0, ge=0, description="least time from one resend of an invitation to the next"
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
    customers_per_reseller: Limit = Field(
        1_000_000, description="customers that one reseller may have; 0 for any number"
    )
    unknown_links_per_min: float = Field(
        30.0, ge=0, description="wrong links that one address may try; 0 for any number"
    )

    country: str = Field(
        "RU", pattern="^[A-Z]{2}$", description="of all billing accounts, by ISO 3166-1 alpha-2"
    )
    currency: str = Field(
        "RUB", pattern="^(RUB|USD|KZT)$", description="of all billing accounts: RUB, USD or KZT"
    )

    webhook_allow_private: bool = Field(
        False, description="webhooks may lead to this machine, by http too; for development"
    )
    webhook_proxy: str = Field(
        "",
        pattern=r"^(http://[^\s/?#]+/?)?$",
        description="http://[user:password@]host:port of the proxy that webhooks are reached through",
        json_schema_extra=_SECRET,
    )

    brand_name: str = Field(
        "Billing", pattern=r"^\S([^\x00-\x1f]{0,58}\S)?$", description="on e-mails and pages"
    )
    brand_colour: str = Field(
        "#1d4f91",
        pattern="^#[0-9a-fA-F]{6}$",
        description="any, like #1d4f91; text on it is white or black, whichever reads better",
    )
    brand_support: str = Field(
        "", pattern=r"^([^\s@<>\"]+@[^\s@<>\"]+)?$", description="address for questions"
    )
    time_zone: str = Field(
        "Europe/Moscow", description="IANA name of the zone that people read times in, beside UTC"
    )

    idempotency_lifetime_h: int = Field(48, ge=24, description="how long keys are remembered")
    operation_retention_d: int = Field(
        30, ge=0, description="how long ended operations and links are kept; 0 for ever"
    )
    event_retention_d: int = Field(
        400, ge=1, description="how long events of the resellers' logs are kept"
    )
    sweep_interval_s: float = Field(
        30.0, gt=0, description="how often what is old is cleared and what has lapsed is recorded"
    )
    rate_limit: float = Field(2000.0, ge=0, description="calls a second for one caller; 0 for none")
    max_concurrent_calls: Count = Field(
        1000,
        description="calls in work at once in one process, and as many waits; one caller: half",
    )
    max_anonymous_calls: Count = Field(
        200, description="the same for calls without credentials; one address has half of them"
    )
    max_streams: Count = Field(
        2500, description="streams of events open at once in one process; one caller: half"
    )
    max_connections: Count = Field(
        10_000,
        description="of callers to the gateway, 4 in 5 for one address; from 2 in 5 on idle ones end sooner",
    )
    gateway_memory_mib: int = Field(
        256,
        ge=96,
        description="Envoy's heap, 64 of its own; past a tenth of the rest the largest requests end",
    )
    max_body_bytes: int = Field(1 << 20, ge=1024, description="largest request")
    max_metadata_bytes: int = Field(32 << 10, ge=4096, description="largest headers of a request")
    request_timeout_s: float = Field(15.0, gt=0, description="a REST call's deadline")
    drain_s: float = Field(
        2.0, ge=0, description="how long SIGTERM leaves the gateway to notice before calls end"
    )
    shutdown_s: float = Field(20.0, gt=0, description="time for calls and sends to finish on stop")

    @model_validator(mode="before")
    @classmethod
    def _in_the_checkout(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Whatever folder a command is run from, it works on the same database."""
        if "var" in values:
            return values
        if not in_checkout():
            raise PydanticCustomError(
                "var",
                "set BILLING_VAR to the folder where the service is to keep all, such as "
                "/var/lib/billing",
            )
        return {**values, "var": _CHECKOUT / "var"}

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise PydanticCustomError(
                "zone", "there is no such time zone; give an IANA name like Europe/Moscow"
            ) from None
        return value

    @field_validator("var", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # An empty path would be the folder that a command happens to run in.
        if value == "":
            raise PydanticCustomError("var", "name the folder where the service is to keep all")
        return value

    @field_validator("var")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        if len({bool(self.oidc_issuer), bool(self.oidc_audience), bool(self.oidc_jwks)}) > 1:
            raise PydanticCustomError(
                "oidc",
                "set BILLING_OIDC_ISSUER, BILLING_OIDC_AUDIENCE and BILLING_OIDC_JWKS, or none",
            )
        return self

    @property
    def iam_keys(self) -> Path:
        """The folder of the keys that sign IAM tokens."""
        keys = Path(self.keys).expanduser().absolute() if self.keys else self.var / "keys"
        return keys / "iam"

    @property
    def iam_audiences(self) -> frozenset[str]:
        """What service accounts' requests for tokens may be made for; SDKs derive it from the endpoint."""
        ours = ("localhost", "127.0.0.1")
        endpoints = {
            *(f"{host}:{self.https_port}" for host in ours),
            *(endpoint.strip() for endpoint in self.iam_endpoints.split(",")),
            self.endpoint,
        }
        return frozenset(f"https://iam.{each}/iam/v1/tokens" for each in endpoints if each)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for each in _listed(value):
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise PydanticCustomError(
                    "networks", "list networks like 10.0.0.0/8,2001:db8::/32"
                ) from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for each in _listed(value):
            if not re.fullmatch(_ORIGIN, each) or _REDUNDANT_PORT.fullmatch(each):
                raise PydanticCustomError(
                    "origins",
                    "list origins as browsers send them, like "
                    "https://app.example.com,http://localhost:3000",
                )
        return value

    @property
    def origins(self) -> list[str]:
        """The origins whose scripts may call the gateway from a browser."""
        return _listed(self.cors_origins)

    @property
    def proxies(self) -> list[str]:
        """The networks of the proxies that are trusted to say where a call comes from."""
        return _listed(self.trusted_proxies)

    @field_validator("address", "metrics_address")
    @classmethod
    def _ip_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def upstreams(self) -> list[str]:
        """The server processes that the gateway balances."""
        return _listed(self.servers) or [f"127.0.0.1:{self.grpc_port}"]

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.var / 'billing.db'}"

    @property
    def unpooled_database(self) -> str:
        """The database's URL, past the pooler if one is known."""
        return self.database_direct_url or self.database

    @property
    def only_pooled(self) -> bool:
        """Whether there is no way but through the pooler."""
        return self.database_pooled and not self.database_direct_url

    @property
    def smtp(self) -> str:
        """The SMTP server's URL."""
        return self.smtp_url or f"smtp://127.0.0.1:{self.smtp_port}"

    @property
    def local_endpoint(self) -> str:
        """Where clients on this machine reach the service over TLS."""
        return f"localhost:{self.https_port}"

    @property
    def public_address(self) -> str:
        """What the API's URLs begin with for those who are told of events."""
        return f"https://{(self.endpoint or self.local_endpoint).removesuffix(':443')}"

    @property
    def invitation_link(self) -> str:
        """What a link's token is appended to."""
        return self.invitation_url or f"http://localhost:{self.http_port}/invitations/"

    @property
    def invitation_lifetime(self) -> timedelta:
        """How long an invitation can be accepted."""
        return timedelta(days=self.invitation_lifetime_d)

    @property
    def limits(self) -> Limits:
        """How much one reseller may cause."""
        return Limits(*(getattr(self, name) for name in Limits._fields))

    @property
    def resend_interval(self) -> timedelta:
        """How soon an invitation can be sent again after it was."""
        return timedelta(seconds=self.resend_interval_s)

    @property
    def zone(self) -> ZoneInfo:
        """The zone that people read times in."""
        return ZoneInfo(self.time_zone)

    @property
    def dkim_keys(self) -> list[str]:
        """The files of the keys that sign e-mails."""
        return _listed(self.dkim_key)

    @property
    def dkim_selectors(self) -> list[str]:
        """Their selectors, in the same order."""
        return _listed(self.dkim_selector)

    @property
    def brand(self) -> Brand:
        """Whose e-mails and pages these are."""
        return Brand(self.brand_name, self.brand_colour, self.brand_support or None)

    @property
    def idempotency_lifetime(self) -> timedelta:
        """How long idempotency keys are remembered."""
        return timedelta(hours=self.idempotency_lifetime_h)

    @property
    def operation_retention(self) -> timedelta | None:
        """How long finished operations and links to ended invitations are kept; None: for ever."""
        days = self.operation_retention_d
        return timedelta(days=days) if days else None


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
