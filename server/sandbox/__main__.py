"""`python -m server.sandbox`: what `billing-server dev` starts, and nobody else."""

import asyncio
import gc
import os
import sys

import click
import uvloop

from server.config import SettingsError
from server.settings_sources import load_settings
from server.telemetry import logs


@click.command()
@click.option("--listen", required=True, help="host:port, or unix:path with --among-others")
@click.option("--among-others", is_flag=True, help="Be one of many processes, and no sandbox.")
def main(listen: str, among_others: bool) -> None:
    """Brings the schema up to date and serves until SIGINT; among others it must be current."""
    # Looking for garbage in what is being read would take a tenth of the start, and find none.
    gc.disable()
    from server.database_commands import migrate_database
    from server.sandbox.process import serve, serve_among_others

    gc.freeze()
    gc.enable()
    settings = load_settings().settings
    logs.configure(settings.log_format, settings.log_level)
    if not among_others:
        migrate_database(settings)
    asyncio.set_event_loop_policy(None)
    uvloop.run((serve_among_others if among_others else serve)(settings, listen))


if __name__ == "__main__":
    os.umask(0o077)
    try:
        main()
    except SettingsError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
