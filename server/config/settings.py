"""All settings, and what follows from several of them."""

from pathlib import Path
from typing import Any

from pydantic import field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import SettingsConfigDict

from server.config.calls import CallSettings
from server.config.fields import listed
from server.config.identity import IdentitySettings
from server.config.invitations import InvitationSettings
from server.config.sending import SendingSettings
from server.config.serving import ServingSettings
from server.config.storage import StorageSettings
from server.domain.limits import Limits


class SettingsError(Exception):
    """A setting that can't be used; the text names it and says what it should be."""


# Those whose values are paths, or lists of paths.
_PATHS = ("var", "keys", "tls_certificate", "tls_key", "access_log", "mail_templates", "dkim_key")


# Listed from the last one to the first.
class Settings(
    CallSettings,
    InvitationSettings,
    SendingSettings,
    StorageSettings,
    IdentitySettings,
    ServingSettings,
):
    """Every setting with its default. Times in the name's unit: `_s` seconds, `_h` hours, `_d` days."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", frozen=True, allow_inf_nan=False)

    @field_validator(*_PATHS, mode="before")
    @classmethod
    def _of_known_users(cls, value: Any) -> Any:
        for each in listed(str(value)):
            try:
                Path(each).expanduser()
            except RuntimeError:
                raise PydanticCustomError(
                    "home", "begins with ~ and a user that this machine does not have"
                ) from None
        return value

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

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.var / 'billing.db'}"

    @property
    def unpooled_database(self) -> str:
        """The database's URL, past the pooler if one is known."""
        return self.database_direct_url or self.database

    @property
    def unpooled_setting(self) -> str:
        """The variable that has it."""
        return "BILLING_DATABASE_DIRECT_URL" if self.database_direct_url else "BILLING_DATABASE_URL"

    @property
    def smtp(self) -> str:
        """The SMTP server's URL."""
        return self.smtp_url or f"smtp://127.0.0.1:{self.smtp_port}"

    @property
    def invitation_link(self) -> str:
        """What a link's token is appended to."""
        return self.invitation_url or f"http://localhost:{self.http_port}/invitations/"

    @property
    def limits(self) -> Limits:
        """How much one reseller may cause."""
        return Limits(*(getattr(self, name) for name in Limits._fields))
