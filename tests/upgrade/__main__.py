"""Upgrades under load from an earlier release, on both databases; exits with 1 if a call failed."""

import asyncio
import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from tests.chaos.postgres import postgres
from tests.upgrade.drill import drill, release_before, unpack


@click.command()
@click.option("--from", "commit", help="The release; default the latest with an earlier schema.")
@click.option("--load-s", default=10.0, show_default=True, help="Of load around each step.")
def main(commit: str | None, load_s: float) -> None:
    commit = commit or release_before()
    failed = False
    with tempfile.TemporaryDirectory(prefix="upgrade-") as name:
        old = unpack(commit, Path(name, "old"))
        for kind in ("sqlite", "postgresql"):
            folder = Path(name, kind)
            folder.mkdir()
            with postgres() if kind == "postgresql" else nullcontext() as database:
                outcome = asyncio.run(drill(old, folder, database.url if database else "", load_s))
            click.echo(f"{kind}: {dict(outcome.answers)}, lost: {len(outcome.lost)}")
            failed = failed or bool(outcome.failures or outcome.lost)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
