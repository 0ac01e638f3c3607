"""The command line: `billing-server --help`. Those of `server/admin/` are part of it."""

import errno
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click

from server import console, version
from server.admin import GROUPS, AdminContext
from server.clock import now
from server.commands.common import service_clock
from server.commands.database import backup, check, migrate, restore
from server.commands.mail import dkim
from server.commands.programs import bounces, dev, gateway, serve, worker
from server.commands.set_up import doctor, settings
from server.config import SettingsError
from server.identity.key_ring import KeyRing
from server.settings_sources import read_settings
from server.storage.interface import Storage


class _Commands(click.Group):
    """Ends by Ctrl-C, or where nobody reads its output any more, by the code that shells know."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with console.quiet_end():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with console.quiet_end():
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
    Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 130 Ctrl-C, 141 nobody reads
    the output.
    """
    context.obj = AdminContext(_storage, _ring, now, service_clock)


for command in (
    *(dev, serve, worker, bounces, gateway),
    *(migrate, backup, restore, check),
    *(dkim, settings, doctor, *GROUPS),
):
    cli.add_command(command)


@asynccontextmanager
async def _storage() -> AsyncIterator[Storage]:
    from server.composition.storage import opened_storage

    async with opened_storage(read_settings()) as storage:
        yield storage


def _ring() -> KeyRing:
    return KeyRing(read_settings().iam_keys, now, make=False)


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
