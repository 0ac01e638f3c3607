"""The whole examination, in the order in which one thing needs another."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from server.clock import now
from server.config import Settings, SettingsError
from server.database_commands import database_clocks
from server.doctor.certificates import examine_certificate
from server.doctor.finding import Finding, ok, problem, warning
from server.doctor.machine import examine_clock, examine_disk, examine_modes
from server.doctor.mail_server import examine_mail_server
from server.doctor.sender_dns import examine_sender, system_resolver
from server.settings_sources import LoadedSettings, load_settings, require_for_production
from server.worker.mail.addresses import MessageSettingError, parse_sender
from server.worker.mail.dkim import DkimKey, DkimSettingError, read_keys
from server.worker.mail.smtp_server import SmtpServer, SmtpUrlError

_MEND = "mend it where `billing-server settings` says that it comes from"


async def examine(*, for_development: bool) -> AsyncIterator[Finding]:
    """Yields what each look finds; wrong settings end it, since nothing can be said of the rest.

    `for_development`: that e-mails go to the catcher of `make run` is as it should be.
    """
    try:
        loaded = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            yield problem("settings", line, "mend it in the environment or in BILLING_CONFIG")
        return
    settings = loaded.settings
    yield ok("settings", f"{len(Settings.model_fields)} settings can be used")
    if not for_development:
        try:
            require_for_production(loaded)
        except SettingsError as error:
            yield problem("settings", str(error), "docs/operators/production.md shows them")
    # To be seen before the database is opened, which closes its files to others.
    modes = list(examine_modes([settings.var, settings.iam_keys], _files(loaded)))
    for finding in _database(settings):
        yield finding
    async for finding in _mail(settings):
        yield finding
    for finding in _certificate(settings):
        yield finding
    folders = [settings.var]
    if database := _sqlite_file(settings):
        folders.append(database.parent)
    try:
        settings.var.stat()
    except OSError as error:
        yield problem(
            "disk",
            f"{settings.var} can't be used: {error.strerror}",
            "run `billing-server migrate`, or set BILLING_VAR to the folder that is in use",
        )
    for finding in (*examine_disk(folders), *modes):
        yield finding


def _database(settings: Settings) -> Iterator[Finding]:
    """Yields how database, schema and clock stand."""
    at = now()
    try:
        clocks = database_clocks(settings)
    except SettingsError as error:
        yield problem(
            "database",
            str(error),
            "if it is away, start it and look at BILLING_DATABASE_URL; if its schema is another, "
            "make a backup and run `billing-server migrate`",
        )
        yield from examine_clock(at, None, None)
        return
    kind = "SQLite" if settings.database.startswith("sqlite") else "PostgreSQL"
    yield ok("database", f"{kind} answers")
    yield ok("schema", "it is this release's")
    yield from examine_clock(at, *clocks)


async def _mail(settings: Settings) -> AsyncIterator[Finding]:
    """Yields how mail server and the sender's DNS stand, if they are set."""
    if settings.smtp_url:
        try:
            server = SmtpServer.from_url(settings.smtp)
        except SmtpUrlError as error:
            yield problem("mail server", f"BILLING_SMTP_URL: {error}", _MEND)
        else:
            async for finding in examine_mail_server(server):
                yield finding
    try:
        domain = parse_sender(settings.mail_from)[1].rpartition("@")[2]
        keys = _dkim_keys(settings)
    except (MessageSettingError, DkimSettingError) as error:
        yield problem("sender", f"BILLING_MAIL_FROM or BILLING_DKIM_…: {error}", _MEND)
        return
    if settings.mail_from == Settings.model_fields["mail_from"].default:
        return  # nobody's; production is asked for another above
    dkim_domain = settings.dkim_domain or domain
    if keys and not f".{domain}".endswith(f".{dkim_domain}"):
        yield warning(
            "DKIM",
            f"{dkim_domain} signs what {domain} sends, which does not count for DMARC",
            "set BILLING_DKIM_DOMAIN to the sender's domain",
        )
    async for finding in examine_sender(domain, dkim_domain, keys, system_resolver()):
        yield finding


def _dkim_keys(settings: Settings) -> list[DkimKey]:
    if not settings.dkim_keys:
        return []
    return read_keys(settings.dkim_keys, settings.dkim_selectors)


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_certificate and settings.tls_key:
        yield from examine_certificate(
            Path(settings.tls_certificate).expanduser(),
            Path(settings.tls_key).expanduser(),
            now(),
        )
    elif settings.tls_certificate or settings.tls_key:
        yield problem(
            "certificate", "BILLING_TLS_CERTIFICATE and BILLING_TLS_KEY go together", "set both"
        )
    elif not settings.is_local:
        yield problem(
            "certificate",
            f"there is none for {settings.address}",
            "set BILLING_TLS_CERTIFICATE and BILLING_TLS_KEY",
        )


def _files(loaded: LoadedSettings) -> list[Path]:
    """Returns the files that hold secrets and may be outside of the service's folder."""
    settings = loaded.settings
    secrets = [
        Path(value).expanduser()
        for name, value in os.environ.items()
        if name.upper().startswith("BILLING_") and name.upper().endswith("_FILE")
    ]
    named = [settings.tls_key, settings.config, *settings.dkim_keys]
    secrets += [Path(each).expanduser() for each in named if each]
    if file := _sqlite_file(settings):
        secrets += [file.with_name(file.name + end) for end in ("", "-wal", "-shm")]
    return secrets


def _sqlite_file(settings: Settings) -> Path | None:
    """Returns the database's file; None on PostgreSQL, and for a URL that names none."""
    scheme, _, place = settings.database.partition("///")
    return Path(place).absolute() if scheme.startswith("sqlite") and place else None
