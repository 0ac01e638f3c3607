"""Measures all rows in one run: `python -m bench --help`."""

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from tqdm import tqdm

from bench import (
    http,
    instructions,
    report,
    rows_calls,
    rows_growth,
    rows_mail,
    rows_startup_and_memory,
    rows_throughput,
)
from bench.measure import FULL, QUICK, Row, Scale

_log = logging.getLogger(__name__)

Measure = Callable[[Path, Scale, Callable[[str], None]], list[Row]]

MEASURES: dict[str, Measure] = {
    "1+2": rows_calls.against_empty,
    "instructions": instructions.of_calls,
    "3": rows_throughput.against_peer,
    "4": rows_calls.through_envoy,
    "5": rows_throughput.on_postgres,
    "6": rows_mail.to_done,
    "6b": rows_mail.sustained,
    "7": rows_growth.growth,
    "8": rows_startup_and_memory.memory,
    "9": rows_calls.two_processes,
    "10": rows_startup_and_memory.start,
}

LOAD = """\
What loads the machine: gRPC calls come from one process of grpc.aio under uvloop that sends prebuilt
bytes and parses no answers; Invites over REST from wrk with a Lua script that gives each its own
body; reads over REST from h2load. They share the machine's cores with what is measured, so compare
ratios and CPU time for each call, which does not depend on the generator's speed, not calls a second.
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--quick", is_flag=True, help="A few minutes instead of half an hour; rougher, smaller."
)
@click.option("--rows", help=f"Only these, of {','.join(MEASURES)}.")
@click.option("--rounds", type=click.IntRange(2), help="Rounds for each row; default 25, quick 5.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench"))
def main(quick: bool, rows: str | None, rounds: int | None, out: Path) -> None:
    """Measure the service beside its baselines and write table, JSON and picture."""
    missing = http.missing_tools()
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; on Debian: apt-get install wrk nghttp2-client")
    scale = QUICK if quick else FULL
    if rounds:
        scale = replace(scale, rounds=rounds)
    chosen = rows.split(",") if rows else list(MEASURES)
    found: list[Row] = []
    failed: list[str] = []
    started = time.monotonic()
    click.echo(LOAD)
    with tqdm(total=len(chosen), unit="row", smoothing=0) as bar:
        for name in chosen:

            def step(what: str, row: str = name) -> None:
                bar.set_description(f"row {row}: {what}")

            try:
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    found += MEASURES[name](Path(folder), scale, step)
            except Exception as error:
                failed.append(f"row {name} could not be measured: {error}")
                _log.exception("row %s", name)
            bar.update()
    facts: dict[str, object] = {
        "scale": "quick" if quick else "full",
        "rounds": scale.rounds,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "machine": report.machine(),
    }
    found.sort(key=lambda row: int(row.number))
    report.write(out, found, facts)
    click.echo(f"\n{report.table(found)}\n")
    click.echo("\n".join(f"{name}: {value}" for name, value in report.machine().items()))
    click.echo(f"\nAll of it is in {out}/bench.json, bench.md and bench.png.")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
