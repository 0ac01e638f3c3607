"""The database of the settings: brought up to date and checked. What fails is one clear line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from files.private import make_private_folder
from server.config import Settings, SettingsError
from server.domain.errors import BillingError
from server.storage import SchemaError, migrate
from server.storage.check import Finding, check
from server.storage.clocks import Clocks, read_clocks


@contextmanager
def database_errors(setting: str = "BILLING_DATABASE_URL") -> Iterator[None]:
    """Turns what is wrong with the database into SettingsError, which names the setting of its URL."""
    try:
        yield
    except SchemaError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise SettingsError(f"{setting}: {place}{error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None
    except BillingError as error:
        raise SettingsError(f"{setting}: {error.for_operators or error.message}") from None


def migrate_database(
    settings: Settings,
    before: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Brings the schema up to date; raises SettingsError.

    `before` is told the version of a schema that is not up to date, before anything is changed;
    `progress` how many rows have been copied, and of how many.
    """
    try:
        make_private_folder(settings.var)
    except OSError as error:
        raise SettingsError(f"BILLING_VAR: can't use {settings.var}: {error}") from None
    with database_errors(settings.unpooled_setting):
        migrate(settings.unpooled_database, before, progress, pooled=settings.only_pooled)


def database_clocks(settings: Settings) -> Clocks:
    """Returns what the database knows of time; raises SettingsError, also for another schema."""
    with database_errors(settings.unpooled_setting):
        return read_clocks(settings.unpooled_database, pooled=settings.only_pooled)


def check_database(settings: Settings) -> list[Finding]:
    """Returns a finding for each invariant; raises SettingsError."""
    with database_errors(settings.unpooled_setting):
        return check(settings.unpooled_database, pooled=settings.only_pooled)
