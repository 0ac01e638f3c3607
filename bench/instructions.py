"""Rows 1 and 2 in instructions, counted by callgrind: they differ less from run to run than time does.

What the kernel does is not among them. A program runs some fifty times slower meanwhile.
"""

import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.load import Generator, Job, generator
from bench.measure import Row, Scale
from bench.processes import Running, python
from bench.rows_calls import get_job, invite_job
from bench.service import empty_server, operation_ids, prepare, server, settings

Step = Callable[[str], None]

_CALLS = 1200
_WARM_UP = 600
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_OUT = "callgrind"


def of_calls(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Rows 1 and 2 in thousands of instructions a call, and beside the empty servicer's."""
    chosen = settings(folder / "service")
    prepare(chosen)
    command = partial(watched, folder)
    rows = []
    with ExitStack() as parts:
        empty, empty_at = parts.enter_context(empty_server(folder, command))
        ours, ours_at = parts.enter_context(server(chosen, command=command))
        empty_load = parts.enter_context(generator(empty_at))
        our_load = parts.enter_context(generator(ours_at))
        for number, name, goal in (("1", "Invite", 560), ("2", "Operation Get", 340)):
            job = invite_job(scale)
            if name != "Invite":
                job = get_job(scale, operation_ids(chosen, _WARM_UP))
            step(f"{name}, empty servicer")
            base = count(folder, empty, empty_load, job)
            step(f"{name}, ours")
            mine = count(folder, ours, our_load, job)
            rows.append(
                Row(
                    number,
                    f"{name}, gRPC: thousands of instructions outside the kernel",
                    *(mine, mine, mine),
                    goal=goal,
                    ours=f"{mine:,.0f} thousand, {mine / base:.2f} times",
                    baseline=f"{base:,.0f} thousand",
                    meaning=f"What {name} makes the processor do.",
                    samples={"ours": mine, "empty servicer": base},
                )
            )
    return rows


def watched(folder: Path, module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module so that what it does can be counted."""
    options = ["--instr-atstart=no", f"--callgrind-out-file={folder / _OUT}.%p"]
    slowed = python("bench.slowed", module, *arguments)
    return ["valgrind", "--quiet", "--tool=callgrind", *options, *slowed]


def count(folder: Path, program: Running, load: Generator, job: Job) -> float:
    """Returns how many thousand instructions each call of a job took, after some not counted."""
    load.run(replace(job, calls=_WARM_UP))
    _control(program, "--instr=on", "--zero")
    outcome = load.run(replace(job, calls=_CALLS))
    _control(program, "--dump", "--instr=off")
    counts = []
    for file in folder.glob(f"{_OUT}.{program.process.pid}*"):
        counts += [int(count) for count in _TOTAL.findall(file.read_text())]
        file.unlink()
    return max(counts) / outcome.good / 1000


def _control(program: Running, *options: str) -> None:
    for option in options:
        command = ["callgrind_control", option, str(program.process.pid)]
        subprocess.run(command, check=True, capture_output=True)
