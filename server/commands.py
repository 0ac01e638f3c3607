"""The command line: `billing-server --help`.

Longer than others: each command stands here once, with what it says of itself.
"""

import asyncio
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from server import console, version
from server.admin import GROUPS, AdminContext, mail, printable, show_all
from server.clock import now
from server.config import Settings, SettingsError, in_checkout
from server.identity.key_ring import KeyRing
from server.settings_sources import (
    is_set,
    load_settings,
    read_settings,
    require_for_production,
    shown,
    variable,
)
from server.storage.interface import Storage
from server.telemetry import logs


class _Commands(click.Group):
    """Ends by Ctrl-C with one line and the code that shells know, wherever a command leaves it to us."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.say("stopped", logging.INFO)
            ctx.exit(128 + signal.SIGINT)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version.current(), message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """The billing service: invites a reseller's customers by gRPC and REST.

    Settings come from environment variables that begin with BILLING_, and from the TOML file that
    BILLING_CONFIG names; `settings` lists them.

    \b
    To try it on this machine:
      billing-server dev

    \b
    To let a program call, on a machine where `migrate` has run:
      billing-server resellers add "Horns and Hooves"
      billing-server service-accounts add "Nightly invitations"
      billing-server keys add SERVICE_ACCOUNT_ID --output key.json
      billing-server roles grant SERVICE_ACCOUNT_ID billing.accounts.editor RESELLER_ID

    \b
    Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 130 Ctrl-C.
    """
    context.obj = AdminContext(_storage, _ring, now, _service_clock)


for group in GROUPS:
    cli.add_command(group)

_dev_option = click.option(
    "--dev",
    "for_development",
    is_flag=True,
    help="Accept the default mail settings, which work on this machine alone.",
)


@cli.command()
@click.option(
    "--var",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for database, e-mails, keys and logs; default BILLING_VAR, else var in the checkout "
    "or, without one, in this folder.",
)
@click.option(
    "--ports",
    type=click.Choice(["fixed", "auto"]),
    default="fixed",
    show_default=True,
    help="auto: free ports for all that no setting names; dev.json in the folder tells them.",
)
@click.option("--until-eof", is_flag=True, help="Stop also when standard input ends.")
def dev(var: Path | None, ports: str, until_eof: bool) -> None:
    """Start all parts on one machine, to try them.

    Mail catcher, servers and Envoy. Applies migrations, makes a certificate, a reseller and a token on the first run, waits until all
    is healthy and prints calls to paste. Ctrl-C stops it.

    \b
    Example:
      billing-server dev --var /tmp/billing --ports auto
    """
    from server.dev import ports as run_ports
    from server.dev import stack

    # The processes that are started read their settings there.
    if var is not None or not (is_set("var") or in_checkout()):
        os.environ[variable("var")] = str((var or Path("var")).absolute())
    with run_ports.chosen(auto=ports == "auto"):
        console.run(stack.run(_settings(), until_eof=until_eof))


@cli.command()
@click.option("--listen", help="host:port or unix:path; default 127.0.0.1 and BILLING_GRPC_PORT.")
@click.option(
    "--worker/--no-worker",
    default=True,
    show_default=True,
    help="Send e-mails and webhooks in this process too.",
)
@_dev_option
def serve(listen: str | None, worker: bool, for_development: bool) -> None:
    """Serve gRPC, and send e-mails and webhooks.

    Runs until SIGTERM or Ctrl-C. The schema must be current: see `migrate`. A process that sends
    e-mails needs BILLING_SMTP_URL, BILLING_MAIL_FROM and BILLING_INVITATION_URL.

    \b
    Examples:
      billing-server serve --listen 10.0.0.5:50051
      billing-server serve --no-worker
    """
    settings = _settings(for_production=worker and not for_development)
    from server import process

    console.run(
        process.serve(settings, listen or f"127.0.0.1:{settings.grpc_port}", with_worker=worker)
    )


@cli.command()
@_dev_option
def worker(for_development: bool) -> None:
    """Send e-mails and webhooks alone.

    Runs until SIGTERM or Ctrl-C, and serves no calls. Needs BILLING_SMTP_URL, BILLING_MAIL_FROM and
    BILLING_INVITATION_URL.

    \b
    Example:
      billing-server worker
    """
    settings = _settings(for_production=not for_development)
    from server import process

    console.run(process.work(settings))


@cli.command()
@click.option("--listen", help="host:port; default 127.0.0.1 and BILLING_BOUNCE_PORT.")
def bounces(listen: str | None) -> None:
    """Receive e-mails that come back.

    Those to BILLING_BOUNCE_DOMAIN, by SMTP or LMTP, until SIGTERM or Ctrl-C.

    \b
    Example:
      billing-server bounces --listen 0.0.0.0:25
    """
    settings = _settings()
    from server import process

    console.run(process.receive_bounces(settings, listen or f"127.0.0.1:{settings.bounce_port}"))


@cli.command()
def gateway() -> None:
    """Run Envoy in front of the servers.

    Runs until SIGTERM or Ctrl-C. BILLING_SERVERS names the servers; default the one on this machine.

    \b
    Example:
      BILLING_SERVERS=10.0.0.5:50051,10.0.0.6:50051 billing-server gateway
    """
    settings = _settings()
    from server import gateway_runner

    console.run(gateway_runner.serve_gateway(settings))


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date.

    Makes the tables of a new database. Several at once wait for each other; one that is interrupted
    has changed nothing. Make a backup first: the only way back to an earlier release is to restore
    it. Servers of the release before may go on meanwhile, those of an older one must be stopped.

    \b
    Example:
      billing-server migrate
    """
    settings = _settings()
    from server import database_commands

    database_commands.migrate_database(settings, _before_migration, _Copying())
    console.say("The database's schema is up to date.", logging.INFO)


class _Copying:
    """Shows how far copying has come, once there is any: a bar, or in a log a line each tenth."""

    def __init__(self, label: str = "copying rows") -> None:
        self._label = label
        self._bar: Any = None
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        if logs.is_json() or not sys.stderr.isatty():
            tenths, self._tenths = self._tenths, done * 10 // total
            if tenths < self._tenths:
                console.say(f"{self._label}: {done:,} of {total:,}", logging.INFO)
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
        self._bar.update(done - self._bar.pos)
        if done >= total:
            self._bar.render_finish()


def _before_migration(version: str) -> None:
    console.say(
        f"The database's schema is at version {version} and is brought up to date now. The only way "
        "back is to restore a backup."
    )


@mail.command("preview")
@click.option(
    "--kind",
    type=click.Choice(["invitation", "resent", "reminder", "warning", "disabled"]),
    default="invitation",
    show_default=True,
    help="Which e-mail; warning and disabled are those about webhooks that fail.",
)
@click.option("--reseller", default="Horns and Hooves", show_default=True, help="Who invites.")
@click.option("--customer", default="Romashka LLC", show_default=True, help="Who is invited.")
@click.option(
    "--language",
    default="",
    metavar="CODE",
    help="Of an invitation that asks for one; default all of BILLING_MAIL_LANGUAGES.",
)
@click.option("--full", is_flag=True, help="With all that can be in it: contact, inviter, note.")
def preview_mail(kind: str, reseller: str, customer: str, language: str, full: bool) -> None:
    """Print an e-mail as it would be sent.

    Its link leads nowhere.

    \b
    Example:
      billing-server mail preview --kind reminder --customer "شركة الفوترة" > preview.eml
    """
    from server.mail_preview import Previewed, PreviewKind, preview

    wanted = Previewed(PreviewKind(kind), reseller, customer, language, full)
    sys.stdout.buffer.write(preview(read_settings(), wanted))


@mail.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def mail_status(as_json: bool) -> None:
    """Tell how many e-mails wait, and why.

    Since when, for which mail server, and the last error. Counts up to 10,000 new ones, and as many that are tried again. E-mails of suspended resellers are
    held and not among them.

    \b
    Example:
      billing-server mail status --json
    """
    from server import mail_status

    status = asyncio.run(mail_status.mail_status(read_settings(), _service_clock()))
    if as_json:
        click.echo(json.dumps(status.as_json()))
        return
    for line in status.lines():
        click.echo(printable(line))


@cli.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write database and keys to a new FILE.

    While servers run or not. For SQLite; PostgreSQL has tools of its own. The copy is as of one moment and checked, the file its
    owner's alone. It appears once it is whole.

    \b
    Example:
      billing-server backup /backups/2026-11-27.billing
    """
    from server import backup_command

    click.echo(
        printable(backup_command.backup(_settings(), file, now(), _Copying("copying pages")))
    )


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Restore database and keys from a backup.

    Puts those of FILE where there are none. Stop servers and workers first, and move what is left of the old database away. Changes nothing
    unless all of the backup is whole.

    \b
    Example:
      billing-server restore /backups/2026-11-27.billing
    """
    from server import backup_command

    click.echo(printable(backup_command.restore(_settings(), file)))


@cli.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check that the database is consistent.

    While servers run or not. Prints each invariant with the number of records that break it, and the
    IDs of some of them. Exit code 1 if one is broken.

    \b
    Example:
      billing-server check
    """
    from server import database_commands

    findings = database_commands.check_database(_settings())
    for finding in findings:
        some = f": {', '.join(finding.ids)}" if finding.ids else ""
        more = ", …" if finding.count > len(finding.ids) else ""
        click.echo(printable(f"{finding.count:7}  {finding.invariant}{some}{more}"))
    broken = sum(finding.count > 0 for finding in findings)
    click.echo(f"{broken} of {len(findings)} invariants are broken", err=bool(broken))
    context.exit(1 if broken else 0)


@cli.group()
def dkim() -> None:
    """Make keys that sign e-mails (DKIM)."""


@dkim.command("new")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where the keys go; default dkim in var."
)
def new_dkim_keys(folder: Path | None) -> None:
    """Make keys that sign e-mails.

    Prints the DNS records and the settings that they need.

    \b
    Example:
      billing-server dkim new --folder /etc/billing/dkim
    """
    from server import dkim_command

    click.echo(dkim_command.new_keys(_settings(), now(), folder))


@cli.command()
def settings() -> None:
    """List all settings with their values.

    The value in force, where it comes from, and what it means; passwords are hidden. The unit is the
    end of the name: _S seconds, _MIN a minute, _H hours, _D days.

    \b
    Example:
      billing-server settings
    """
    loaded = load_settings()
    show_all(
        [
            {
                "variable": variable(name),
                "value": shown(loaded.settings, name),
                "from": loaded.origins[name],
                "meaning": field.description or "",
            }
            for name, field in Settings.model_fields.items()
        ],
        as_json=False,
    )


@cli.command()
@_dev_option
@click.pass_context
def doctor(context: click.Context, for_development: bool) -> None:
    """Examine the set-up, and say what to mend.

    Settings, database, schema, clock, mail server, the sender's DNS, certificate, disk, file modes.
    Changes nothing and sends nothing. Exit code 1 if there is a problem.

    \b
    Example:
      billing-server doctor
    """
    from server.doctor import Level, examine

    async def findings() -> int:
        problems = 0
        async for finding in examine(for_development=for_development):
            problems += finding.level is Level.PROBLEM
            click.echo(printable(f"{finding.level.value:8} {finding.subject}: {finding.text}"))
            if finding.advice:
                click.echo(printable(f"{'':8} → {finding.advice}"))
        return problems

    # What goes wrong is told by the findings.
    logging.disable()
    try:
        problems = asyncio.run(findings())
    finally:
        logging.disable(logging.NOTSET)
    click.echo(f"{problems} problem{'' if problems == 1 else 's'}", err=bool(problems))
    context.exit(1 if problems else 0)


@asynccontextmanager
async def _storage() -> AsyncIterator[Storage]:
    from server.composition.storage import opened_storage

    async with opened_storage(read_settings()) as storage:
        yield storage


def _service_clock() -> datetime:
    """Returns the time of the service, which is ahead where the folder is one of a sandbox."""
    from server.sandbox.clock import clock_of

    return clock_of(read_settings().var)()


def _ring() -> KeyRing:
    return KeyRing(read_settings().iam_keys, now, make=False)


def _settings(*, for_production: bool = False) -> Settings:
    loaded = console.settings_and_log()
    if for_production:
        require_for_production(loaded)
    return loaded.settings


def main(name: str) -> None:
    """Runs a command, called by `name`; an expected error is one clear line and exit code 1."""
    # For what libraries and programs that are started make, too.
    os.umask(0o077)
    try:
        cli(prog_name=name)
    except SettingsError as error:
        console.end(error)
    except OSError as error:
        # A file that this user may not use, or a disk without room, standard output's perhaps.
        if error.filename is None and error.errno != errno.ENOSPC:
            console.end_by_fault(error)
        if error.filename is None:
            # Else Python tries at its end again to write what is left.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        console.end(SettingsError(f"{error.filename or 'output'}: {error.strerror}"))
    except Exception as fault:
        console.end_by_fault(fault)
