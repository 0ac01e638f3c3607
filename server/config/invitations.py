"""Settings of what resellers and invitees get: links and their time, accounts, the brand."""

from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from server.config.fields import Limit
from server.domain.brands import Brand


class InvitationSettings(BaseSettings):
    """What resellers and invitees get: links and their time, accounts, the brand."""

    invitation_url: str = Field(
        "", description="what the link in the e-mail begins with; default the gateway's page"
    )
    invitation_lifetime_d: int = Field(
        30, ge=1, le=3650, description="how long an invitation can be accepted"
    )
    resend_interval_s: float = Field(
        60.0,
        ge=0,
        le=31_536_000,
        description="least time from one resend of an invitation to the next",
    )
    customers_per_reseller: Limit = Field(
        1_000_000, description="customers that one reseller may have; 0 for any number"
    )
    unknown_links_per_min: float = Field(
        30.0, ge=0, description="wrong links a minute that one IP address may try; 0 for any number"
    )
    country: str = Field(
        "RU",
        pattern="^[A-Z]{2}$",
        description="country of all billing accounts, by ISO 3166-1 alpha-2",
    )
    currency: str = Field(
        "RUB",
        pattern="^(RUB|USD|KZT)$",
        description="currency of all billing accounts: RUB, USD or KZT",
    )
    brand_name: str = Field(
        "Billing", pattern=r"^\S([^\x00-\x1f]{0,58}\S)?$", description="name on e-mails and pages"
    )
    brand_colour: str = Field(
        "#1d4f91",
        pattern="^#[0-9a-fA-F]{6}$",
        description="colour of pages and e-mails; text on it is white or black, whichever reads better",
    )
    brand_support: str = Field(
        "",
        pattern=r"^([^\s@<>\"]+@[^\s@<>\"]+)?$",
        description="e-mail address for questions, on e-mails and pages",
    )
    time_zone: str = Field(
        "Europe/Moscow", description="IANA name of the zone that people read times in, beside UTC"
    )

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

    @property
    def invitation_lifetime(self) -> timedelta:
        """How long an invitation can be accepted."""
        return timedelta(days=self.invitation_lifetime_d)

    @property
    def resend_interval(self) -> timedelta:
        """How soon an invitation can be sent again after it was."""
        return timedelta(seconds=self.resend_interval_s)

    @property
    def brand(self) -> Brand:
        """Whose e-mails and pages these are."""
        return Brand(self.brand_name, self.brand_colour, self.brand_support or None)

    @property
    def zone(self) -> ZoneInfo:
        """The zone that people read times in."""
        return ZoneInfo(self.time_zone)
