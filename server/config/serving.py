"""Settings of where the service is reached, and of what its processes write."""

import ipaddress
import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from server.config.fields import Count, Port, listed

# As the Origin header has it: in lower case, without a path; a standard port is left out there.
_ORIGIN = r"(http|https)://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?"
_REDUNDANT_PORT = re.compile(r"http:.*:80|https:.*:443")
_SERVER = r"unix:/.+|([^\s:/@]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}"
# Where the code is, unless it has been installed elsewhere.
_CHECKOUT = Path(__file__).parent.parent.parent


def in_checkout() -> bool:
    """Tells whether this code stands in a checkout, whose folder var is then the default."""
    return (_CHECKOUT / "pyproject.toml").is_file()


class ServingSettings(BaseSettings):
    """Where the service is reached, and what its processes write."""

    var: Path = Field(
        Path("var"),
        description="folder of database, caught e-mails, keys and logs; the default is in the checkout",
    )
    config: str = Field(
        "",
        description="TOML file of settings, `http_port = 8080`; the environment goes before it",
    )
    http_port: Port = Field(8080, description="Envoy: REST and gRPC without TLS, loopback only")
    https_port: Port = Field(8443, description="Envoy: REST and gRPC over TLS")
    grpc_port: Port = Field(50051, description="the gRPC server itself")
    smtp_port: Port = Field(1025, description="the local mail catcher")
    log_format: str = Field("text", pattern="^(text|json)$", description="of the log: text or json")
    log_level: str = Field(
        "info",
        pattern="^(debug|info|warning|error)$",
        description="least level of lines: debug, info, warning or error; calls that went well are info",
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
        "127.0.0.1",
        description="IP address at which each process tells metrics and health, unencrypted",
    )
    metrics_port: Port = Field(
        9464,
        description="port for metrics and health; the next free one where another process has that",
    )
    bounce_port: Port = Field(
        1026, description="`bounces`, which receives e-mails that come back, at 127.0.0.1"
    )
    endpoint: str = Field(
        "",
        pattern=r"^([^\s:/]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$|^$",
        description="host:port that `GET /endpoints` tells clients; default the one that a client called by TLS",
    )
    address: str = Field(
        "127.0.0.1",
        description="IP address at which Envoy serves TLS; beyond loopback it needs a certificate",
    )
    tls_certificate: str = Field(
        "",
        description="file of the certificate chain, PEM; read again when it changes; default made in var",
    )
    tls_key: str = Field("", description="file of the certificate's private key, PEM")
    servers: str = Field(
        "",
        pattern=r"^[^\s,]*(, *[^\s,]+)*$",
        description="host:port,… that `gateway` balances; default the one on this machine",
    )
    trusted_proxies: str = Field(
        "",
        description="networks (CIDR,…) whose X-Forwarded-For counts: for the gateway proxies in front of it, for servers gateways on other machines",
    )
    cors_origins: str = Field(
        "",
        description="origins (https://app.example.com,…) whose scripts may call; default none",
    )
    workers: Count = Field(1, description="server processes that `make run` starts")

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

    @field_validator("var", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # An empty path would be the folder that a command happens to run in.
        if not str(value).strip():
            raise PydanticCustomError("var", "name the folder where the service is to keep all")
        return value

    @field_validator("var")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        folder = value.expanduser().absolute()
        if folder == folder.parent:
            raise PydanticCustomError("var", "name a folder of its own, such as /var/lib/billing")
        return folder

    @field_validator("address", "metrics_address")
    @classmethod
    def _ip_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @field_validator("endpoint", "servers", "traces_url")
    @classmethod
    def _ports(cls, value: str) -> str:
        for each in listed(value):
            port = each.rstrip("/").rpartition(":")[2]
            if port.isdecimal() and not 0 < int(port) < 1 << 16:
                raise PydanticCustomError("port", "a port is a number from 1 to 65535")
        return value

    @field_validator("servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        if not all(re.fullmatch(_SERVER, each) for each in listed(value)):
            raise PydanticCustomError(
                "servers", "list servers like 10.0.0.5:50051,10.0.0.6:50051, or unix:/path"
            )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for each in listed(value):
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
        for each in listed(value):
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
        return listed(self.cors_origins)

    @property
    def proxies(self) -> list[str]:
        """The networks of the proxies that are trusted to say where a call comes from."""
        return listed(self.trusted_proxies)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def upstreams(self) -> list[str]:
        """The server processes that the gateway balances."""
        return listed(self.servers) or [f"127.0.0.1:{self.grpc_port}"]

    @property
    def local_endpoint(self) -> str:
        """Where clients on this machine reach the service over TLS."""
        return f"localhost:{self.https_port}"

    @property
    def public_address(self) -> str:
        """What the API's URLs begin with for those who are told of events."""
        return f"https://{(self.endpoint or self.local_endpoint).removesuffix(':443')}"
