"""Commands that tell how the service is set up: its settings, and what is wrong with them or around them."""

import asyncio
import logging

import click

from server.admin import printable, show_all
from server.commands.common import dev_option
from server.config import Settings
from server.settings_sources import load_settings, shown, variable


@click.command()
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


@click.command()
@dev_option
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
