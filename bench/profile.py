"""Where a running server spends its time under load: `make bench-profile`."""

import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import click

from bench.load import generator
from bench.measure import FULL
from bench.parts import operation_ids, prepare, server, settings
from bench.rows_calls import get_job, invite_job

_SAMPLES_A_SECOND = 400


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("method", type=click.Choice(["invite", "get"]))
@click.option("--top", default=25, show_default=True, help="Lines to print.")
def main(method: str, top: int) -> None:
    """Print the top of a profile of the server while it answers METHOD."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        chosen = settings(Path(folder) / "service")
        prepare(chosen)
        with server(chosen) as (program, address), generator(address) as load:
            load.run(invite_job(FULL, 2000))
            ids = operation_ids(chosen, 1000)
            job = invite_job(FULL) if method == "invite" else get_job(FULL, ids)
            load.run(job)
            stacks = Path(folder) / "stacks"
            recorder = subprocess.Popen(
                [
                    *("py-spy", "record", "--rate", str(_SAMPLES_A_SECOND), "--format", "raw"),
                    *("--threads", "--duration", "3600", "--output", str(stacks)),
                    *("--pid", str(program.process.pid)),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            before = program.cpu_s()
            load.run(job)
            cpu_us = (program.cpu_s() - before) / job.calls * 1e6
            recorder.send_signal(2)
            recorder.wait()
        own: Counter[str] = Counter()
        whole: Counter[str] = Counter()
        for line in stacks.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            own[frames[-1]] += int(count)
            whole.update(dict.fromkeys(frames, int(count)))
    total = own.total()
    click.echo(f"{method}: {cpu_us:.0f} us CPU a call")
    for title, counted in (("itself", own), ("with what it calls", whole)):
        click.echo(f"\n{title}")
        for frame, samples in counted.most_common(top):
            click.echo(f"{samples / total:6.1%}  {frame}")


if __name__ == "__main__":
    main()
