"""Settings of how much callers may have at once, and for how long."""

from pydantic import Field
from pydantic_settings import BaseSettings

from server.config.fields import Count


class CallSettings(BaseSettings):
    """How much callers may have at once, and for how long."""

    rate_limit: float = Field(
        2000.0,
        ge=0,
        description="calls a second for one caller, but for those by a link; 0 for none",
    )
    max_concurrent_calls: Count = Field(
        1000,
        description="calls in work at once in one process, and as many waits; one caller: half",
    )
    max_anonymous_calls: Count = Field(
        200,
        description="calls without credentials in work at once in one process; one address: half",
    )
    max_streams: Count = Field(
        2500, description="streams of events open at once in one process; one caller: half"
    )
    max_connections: Count = Field(
        10_000,
        description="connections to the gateway; one address has 4 in 5; from 2 in 5 on idle ones end sooner",
    )
    gateway_memory_mib: int = Field(
        256,
        ge=96,
        le=1 << 20,
        description="Envoy's heap; 80 are its own, and past a tenth of the rest it ends the largest requests",
    )
    max_body_bytes: int = Field(1 << 20, ge=1024, le=64 << 20, description="largest request")
    max_metadata_bytes: int = Field(
        32 << 10, ge=4096, le=256 << 10, description="largest headers of a request"
    )
    request_timeout_s: float = Field(15.0, gt=0, le=3600, description="a REST call's deadline")
    drain_s: float = Field(
        2.0,
        ge=0,
        le=3600,
        description="after SIGTERM, how long a server still takes calls, until the gateway has noticed",
    )
    shutdown_s: float = Field(
        20.0, gt=0, le=3600, description="time for calls and sends to finish on stop"
    )
