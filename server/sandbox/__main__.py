"""`python -m server.sandbox`: what `billing-server dev` starts, and nobody else."""

import gc
import os

import click

from server import console
from server.config import SettingsError


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
    settings = console.settings_and_log().settings
    if not among_others:
        migrate_database(settings)
    console.run((serve_among_others if among_others else serve)(settings, listen))


if __name__ == "__main__":
    os.umask(0o077)
    try:
        main()
    except SettingsError as error:
        console.end(error)
    except Exception as fault:
        console.end_by_fault(fault)
