"""Settings of the database, and of how long it keeps what."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings

from server.config.fields import SECRET


class StorageSettings(BaseSettings):
    """The database, and how long it keeps what."""

    database_url: str = Field(
        "",
        description="sqlite:///… or postgresql://…; default SQLite in var",
        json_schema_extra=SECRET,
    )
    database_pooled: bool = Field(
        False,
        description="BILLING_DATABASE_URL leads to a pooler in transaction mode, such as PgBouncer",
    )
    database_direct_url: str = Field(
        "",
        description="URL past the pooler, for LISTEN, `migrate` and `check`",
        json_schema_extra=SECRET,
    )
    idempotency_lifetime_h: int = Field(
        48, ge=24, le=87_600, description="how long idempotency keys are remembered"
    )
    operation_retention_d: int = Field(
        30, ge=0, le=36_500, description="how long ended operations and links are kept; 0 for ever"
    )
    event_retention_d: int = Field(
        400, ge=1, le=36_500, description="how long events of the resellers' logs are kept"
    )
    sweep_interval_s: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="how often what is old is cleared and what has lapsed is recorded",
    )

    @property
    def only_pooled(self) -> bool:
        """Whether there is no way but through the pooler."""
        return self.database_pooled and not self.database_direct_url

    @property
    def idempotency_lifetime(self) -> timedelta:
        """How long idempotency keys are remembered."""
        return timedelta(hours=self.idempotency_lifetime_h)

    @property
    def operation_retention(self) -> timedelta | None:
        """How long finished operations and links to ended invitations are kept; None: for ever."""
        days = self.operation_retention_d
        return timedelta(days=days) if days else None
