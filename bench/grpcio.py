"""What an empty call costs on each version of grpcio: `make bench-grpcio`.

Justifies the pin in pyproject.toml. Each version gets an environment of its own under build/, which
is kept for the next time; servers run side by side and are measured in turn. All are asked by the
same load generator, on the version that the service is pinned to.
"""

import statistics
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import click
from tqdm import tqdm

from bench.load import Job, generator
from bench.measure import Sample, cpu, sample
from bench.processes import ROOT, running
from bench.requests import INVITE
from bench.service import RESELLER, TOKEN, free_port, listening

VERSIONS = ("1.67.1", "1.71.2", "1.74.0", "1.76.0", "1.78.2", "1.80.1", "1.85.1")
_FOLDER = ROOT / "build" / "grpcio"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=9, show_default=True)
@click.option("--calls", default=20_000, show_default=True)
@click.argument("versions", nargs=-1)
def main(rounds: int, calls: int, versions: tuple[str, ...]) -> None:
    """Measure the CPU time of an empty call on these VERSIONS of grpcio, or on the usual ones."""
    job = Job(INVITE, calls, 64, TOKEN, RESELLER)
    found: dict[str, list[Sample]] = {}
    with ExitStack() as parts:
        servers = {}
        for each in tqdm(versions or VERSIONS, desc="installing", unit="version"):
            address = f"127.0.0.1:{free_port()}"
            program = parts.enter_context(
                running(
                    each,
                    [str(_environment(each)), "-m", "bench.empty", address],
                    _FOLDER / f"{each}.log",
                    lambda address=address: listening(address),  # type: ignore[misc]
                )
            )
            servers[each] = program, parts.enter_context(generator(address))
        for number in tqdm(range(rounds + 1), desc="measuring", unit="round"):
            for each, (program, load) in servers.items():
                taken = sample([program], lambda load=load: load.run(job))  # type: ignore[misc]
                if number:
                    found.setdefault(each, []).append(taken)
    pinned = version("grpcio")
    click.echo("grpcio    CPU us a call   spread     calls/s")
    for each, samples in found.items():
        low, middle, high = statistics.quantiles(cpu(samples), n=4, method="inclusive")
        rate = statistics.median(taken.per_s for taken in samples)
        click.echo(
            f"{each:9} {middle:13.1f}   {low:.0f} to {high:.0f} {rate:10,.0f}"
            f"{'   <- pinned' if each == pinned else ''}"
        )


def _environment(grpcio: str) -> Path:
    """Returns the Python of an environment with that version and what else the servicer needs."""
    folder = _FOLDER / grpcio
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        others = ("protobuf", "googleapis-common-protos", "uvloop")
        pins = [f"grpcio=={grpcio}", *(f"{name}=={version(name)}" for name in others)]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins]
        subprocess.run(pip, check=True)
        (folder / "installed").touch()
    return python


if __name__ == "__main__":
    main()
