"""Where a program spends its time under load: `make bench-profile`."""

import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import psutil
import uvloop

from bench.dependencies import catcher
from bench.load import generator
from bench.measure import FULL, Sample, cpu, sample
from bench.processes import Running
from bench.rows_calls import all_at_once, get_job, invite_job
from bench.rows_mail import CONNECTIONS, caught, sent, worked
from bench.service import empty_server, operation_ids, prepare, server, settings

# Watches programs as long as the block runs.
Watch = Callable[[Sequence[Running]], AbstractContextManager[None]]
# Runs the load once, watched.
Load = Callable[[Watch], Sample]

_SCALE = replace(FULL, calls=20_000, mails=12_000)
_ATTACH_S = 1.0
# :u is outside the kernel, :k within.
_COUNTED = ("instructions:u", "instructions:k", "cycles:u", "cycles:k", "context-switches")
_PY_SPY_A_SECOND, _PERF_A_SECOND = 400, 1500
_LIBRARIES = (
    ("interpreter", re.compile(r"^(lib)?python3")),
    ("kernel", re.compile(r"^\[kernel")),
    ("grpcio's core", re.compile(r"^cygrpc")),
    ("SQLite", re.compile(r"^(lib|_)sqlite3")),
    ("C library, its locks among it", re.compile(r"^(libc|libpthread|ld-linux)")),
)
_SHARE = re.compile(r"^\s+([\d.]+)%\s+(\S+)")


@contextmanager
def _calls(folder: Path, method: str, processes: int = 1) -> Iterator[Load]:
    """Calls of one method to the empty servicer, or to servers on one database."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with ExitStack() as parts:
        if method == "empty":
            started = [parts.enter_context(empty_server(folder))]
        else:
            started = [
                parts.enter_context(server(chosen, name=f"server-{number}"))
                for number in range(processes)
            ]
        programs = [program for program, _ in started]
        loads = [parts.enter_context(generator(address)) for _, address in started]
        job = invite_job(_SCALE)
        if method == "get":
            loads[0].run(invite_job(_SCALE, 2000))
            job = get_job(_SCALE, operation_ids(chosen, 1000))
        shared = replace(job, calls=job.calls // processes, at_once=job.at_once // processes)
        run = partial(all_at_once, loads, shared)
        run()

        def load(watch: Watch) -> Sample:
            with watch(programs):
                return sample(programs, run)

        yield load


@contextmanager
def _worker(folder: Path) -> Iterator[Load]:
    """A worker on a full queue."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with catcher(folder) as (_, port), server(chosen) as (_, address), generator(address) as load:

        def run(watch: Watch) -> Sample:
            load.run(invite_job(_SCALE, _SCALE.mails))
            return worked(chosen.var, port, _SCALE.mails, lambda program: watch([program]))

        yield run


@contextmanager
def _send(folder: Path) -> Iterator[Load]:
    """Bare sends of one of the worker's e-mails, from this process."""
    with _worker(folder) as fill, catcher(folder) as (_, port):
        fill(lambda _: nullcontext())
        content = caught(folder)

        def run(watch: Watch) -> Sample:
            with watch([Running("client", psutil.Process())]):
                return uvloop.run(sent(port, content, _SCALE.mails, CONNECTIONS))

        yield run


_SUBJECTS: dict[str, Callable[[Path], AbstractContextManager[Load]]] = {
    "invite": partial(_calls, method="invite"),
    "get": partial(_calls, method="get"),
    "empty": partial(_calls, method="empty"),
    "two": partial(_calls, method="invite", processes=2),
    "worker": _worker,
    "send": _send,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("subject", type=click.Choice(list(_SUBJECTS)))
@click.option("--top", default=25, show_default=True, help="Lines to print of each kind.")
def main(subject: str, top: int) -> None:
    """Print where SUBJECT spends its time.

    \b
    invite, get   a server that answers these calls
    empty         the empty servicer
    two           two servers on one SQLite that answer Invites
    worker        a worker that sends a full queue of e-mails
    send          a bare SMTP client that sends one of them over and over

    Counts and libraries with perf, if this machine has it; functions with py-spy. Each needs the
    right to look into other processes. The count of instructions hardly differs from run to run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        _SUBJECTS[subject](Path(name)) as load,
    ):
        folder = Path(name)
        if shutil.which("perf"):
            click.echo(f"{subject}, each:{_counted(folder, load(partial(_counting, folder)))}")
            cpu_us = _cpu_us(load(partial(_perf, folder)))
            click.echo(f"{subject}: {cpu_us:.0f} us CPU time each, by library:")
            for library, share in _by_library(folder).most_common():
                click.echo(f"{share * cpu_us:6.0f} us  {library}")
        else:
            click.echo("no counts, and nothing by library: perf is not on this machine")
        cpu_us = _cpu_us(load(partial(_py_spy, folder)))
        own, whole = _by_function(folder)
        click.echo(f"\n{subject}: {cpu_us:.0f} us CPU time each while watched by function")
        for title, counted in (("itself", own), ("with what it calls", whole)):
            click.echo(f"\n{title}")
            for frame, samples in counted.most_common(top):
                click.echo(f"{samples / own.total():6.1%}  {frame}")


def _cpu_us(taken: Sample) -> float:
    return cpu([taken])[0]


@contextmanager
def _counting(folder: Path, programs: Sequence[Running]) -> Iterator[None]:
    command = ["perf", "stat", "-x,", "-e", ",".join(_COUNTED), "-p", _ids(programs)]
    with _recording([*command, "-o", str(folder / "counts")]):
        yield


def _counted(folder: Path, taken: Sample) -> str:
    """Returns what has been counted for each call, in words; the machine may not count all."""
    words = ""
    for line in (folder / "counts").read_text().splitlines():
        count, _, event, *_ = [*line.split(","), "", ""]
        if event in _COUNTED and count.isdigit():
            words += f" {int(count) / taken.calls:,.{0 if ':' in event else 1}f} {event}"
    return words


@contextmanager
def _perf(folder: Path, programs: Sequence[Running]) -> Iterator[None]:
    command = ["perf", "record", "-q", "-F", str(_PERF_A_SECOND), "-p", _ids(programs)]
    with _recording([*command, "-o", str(folder / "perf.data")]):
        yield


def _ids(programs: Sequence[Running]) -> str:
    return ",".join(str(program.process.pid) for program in programs)


@contextmanager
def _py_spy(folder: Path, programs: Sequence[Running]) -> Iterator[None]:
    command = ["py-spy", "record", "--rate", str(_PY_SPY_A_SECOND), "--format", "raw", "--threads"]
    with ExitStack() as recorders:
        for number, program in enumerate(programs):
            output = ["--duration", "3600", "--output", str(folder / f"{number}.stacks")]
            process = ["--pid", str(program.process.pid)]
            recorders.enter_context(_recording([*command, *output, *process]))
        yield


@contextmanager
def _recording(command: Sequence[str]) -> Iterator[None]:
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, stderr=said) as recorder,
    ):
        with suppress(subprocess.TimeoutExpired):
            recorder.wait(_ATTACH_S)
            said.seek(0)
            raise click.ClickException(f"{command[0]}: {said.read().decode(errors='replace')}")
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)


def _by_library(folder: Path) -> Counter[str]:
    """Returns each library's share of what perf has seen."""
    report = ["perf", "report", "-i", str(folder / "perf.data"), "--sort", "dso", "--stdio"]
    text = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    shares: Counter[str] = Counter()
    for line in text.splitlines():
        if found := _SHARE.match(line):
            share, library = found.groups()
            shares[_library(library)] += float(share) / 100  # type: ignore[assignment]
    return shares


def _library(file: str) -> str:
    return next((name for name, pattern in _LIBRARIES if pattern.match(file)), "other")


def _by_function(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Returns the samples of py-spy in each function itself, and with what it calls."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stacks in folder.glob("*.stacks"):
        for line in stacks.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            own[frames[-1]] += int(count)
            whole.update(dict.fromkeys(frames, int(count)))
    return own, whole


if __name__ == "__main__":
    main()
