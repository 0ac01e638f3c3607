"""`python -m server.sandbox`: what `billing-server dev` starts, and nobody else."""

import asyncio
import os
import sys

import click
import uvloop

from server.config import SettingsError
from server.sandbox.process import serve, serve_among_others
from server.settings_sources import load_settings
from server.telemetry import logs


@click.command()
@click.option("--listen", required=True, help="host:port, or unix:path with --among-others")
@click.option("--among-others", is_flag=True, help="Be one of many processes, and no sandbox.")
def main(listen: str, among_others: bool) -> None:
    """Serves until SIGINT, once a line on standard input says that the schema is current."""
    settings = load_settings().settings
    logs.configure(settings.log_format, settings.log_level)
    if not sys.stdin.readline():
        return
    asyncio.set_event_loop_policy(None)
    uvloop.run((serve_among_others if among_others else serve)(settings, listen))


if __name__ == "__main__":
    os.umask(0o077)
    try:
        main()
    except SettingsError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
