"""Commands for the database: its schema, its backups, whether it is consistent."""

import logging
from pathlib import Path

import click

from server import console
from server.admin import printable
from server.clock import now
from server.commands.common import Copying, command_settings


@click.command()
def migrate() -> None:
    """Bring the database's schema up to date.

    Makes the tables of a new database. Several at once wait for each other; one that is interrupted
    has changed nothing. Make a backup first: the only way back to an earlier release is to restore
    it. Servers of the release before may go on meanwhile, those of an older one must be stopped.

    \b
    Example:
      billing-server migrate
    """
    settings = command_settings()
    from server import database_commands

    database_commands.migrate_database(settings, _before_migration, Copying())
    console.say("The database's schema is up to date.", logging.INFO)


def _before_migration(version: str) -> None:
    console.say(
        f"The database's schema is at version {version} and is brought up to date now. The only way "
        "back is to restore a backup."
    )


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write database and keys to a new FILE.

    While servers run or not. For SQLite; PostgreSQL has tools of its own. The copy is as of one
    moment and checked, the file its owner's alone. It appears once it is whole.

    \b
    Example:
      billing-server backup /backups/2026-11-27.billing
    """
    from server import backup_command

    click.echo(
        printable(backup_command.backup(command_settings(), file, now(), Copying("copying pages")))
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Restore database and keys from a backup.

    Puts those of FILE where there are none. Stop servers and workers first, and move what is left
    of the old database away. Changes nothing unless all of the backup is whole.

    \b
    Example:
      billing-server restore /backups/2026-11-27.billing
    """
    from server import backup_command

    click.echo(printable(backup_command.restore(command_settings(), file)))


@click.command()
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

    findings = database_commands.check_database(command_settings())
    for finding in findings:
        some = f": {', '.join(finding.ids)}" if finding.ids else ""
        more = ", …" if finding.count > len(finding.ids) else ""
        click.echo(printable(f"{finding.count:7}  {finding.invariant}{some}{more}"))
    broken = sum(finding.count > 0 for finding in findings)
    click.echo(f"{broken} of {len(findings)} invariants are broken", err=bool(broken))
    context.exit(1 if broken else 0)
