"""What can be set about the gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_VAR = Path("var")
STDOUT = Path("/dev/stdout")


@dataclass(frozen=True)
class StaticFile:
    """A file that Envoy serves by itself at `path`; `packed` is the same by gzip, if there is that."""

    path: str
    file: Path
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    packed: Path | None = None


@dataclass(frozen=True)
class GatewaySettings:
    """Where Envoy listens, whom it asks and what it lets pass. Times in seconds.

    `upstreams` holds one `host:port` or `unix:/path` for each server process. `address` is where
    TLS is served; without TLS only loopback (`http_address`) is allowed. `request_arrival_s` is how
    long a request may take to arrive, `timeout_s` how long a REST caller then waits for its answer.
    `trusted_proxies` are networks (CIDR) in front, whose X-Forwarded-For says where a call comes from.
    `cors_origins` are those whose scripts may call (`https://app.example.com`).
    `requests_per_s` is for all callers together, 0 for no limit. `memory_mib` is what Envoy's heap
    may hold; `access_log` is a file in place of the one in `var`, STDOUT for the launcher's own;
    `max_connections` are those of callers; `log_as_json` is of Envoy's own messages. `traces_url` is an OpenTelemetry collector's, "" for none.
    """

    var: Path = DEFAULT_VAR
    http_port: int = 8080
    https_port: int = 8443
    upstreams: Sequence[str] = ("127.0.0.1:50051",)
    certificate: Path = DEFAULT_VAR / "tls" / "localhost.pem"
    private_key: Path = DEFAULT_VAR / "tls" / "localhost.key"
    address: str = "127.0.0.1"
    http_address: str = "127.0.0.1"
    max_body_bytes: int = 1 << 20
    max_headers_kib: int = 32
    timeout_s: float = 15.0
    trusted_proxies: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    request_arrival_s: float = 15.0
    max_connections: int = 10_000
    memory_mib: int = 256
    requests_per_s: int = 0
    descriptors: Path = Path("gen", "descriptors.pb")
    static_files: Sequence[StaticFile] = ()
    access_log: Path | None = None
    log_as_json: bool = False
    traces_url: str = ""

    @property
    def is_for_development(self) -> bool:
        """Whether the certificate is the one for localhost that is made in `var`."""
        return self.certificate == self.var / "tls" / "localhost.pem"

    @property
    def admin_socket(self) -> Path:
        """Where Envoy takes commands and tells of itself, for the owner of the folder alone."""
        return self.var / "envoy" / "admin.sock"

    @property
    def pressure(self) -> Path:
        """The file that tells Envoy which share of its connections is taken."""
        return self.var / "envoy" / "pressure"

    @property
    def refused(self) -> Path:
        """The file that tells Envoy which addresses have too many connections."""
        return self.var / "envoy" / "refused.json"
