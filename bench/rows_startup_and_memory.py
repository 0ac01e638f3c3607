"""Rows about the life of a server process: 8 its memory, 10 its start."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.load import Job, generator
from bench.measure import Row, Scale
from bench.processes import ROOT
from bench.requests import GET, INVITE, gets
from bench.service import RESELLER, TOKEN, operation_ids, prepare, server, settings

Step = Callable[[str], None]

_MIB = 1 << 20
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def memory(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 8: Invites and Gets by turns."""
    chosen = settings(folder / "service")
    prepare(chosen)
    first, last = scale.memory_calls
    piece = first // 2
    sizes: dict[int, int] = {}
    with server(chosen) as (program, address), generator(address) as load:
        for calls in range(first, last + 1, first):
            step(f"{calls:,} calls")
            load.run(Job(INVITE, piece, scale.at_once, TOKEN, RESELLER))
            bodies = [body.hex() for body in gets(operation_ids(chosen, 1000))]
            load.run(Job(GET, piece, scale.at_once, TOKEN, bodies=bodies))
            sizes[calls] = program.resident_bytes()
    grown = (sizes[last] - sizes[first]) / _MIB
    return [
        Row(
            "8",
            f"Memory after {last:,} calls against after {first:,}: MiB more",
            grown,
            grown,
            grown,
            goal=20,
            ours=f"{sizes[last] / _MIB:.1f} MiB",
            baseline=f"{sizes[first] / _MIB:.1f} MiB",
            meaning="Whether a process that runs for long needs more and more.",
            samples={"resident bytes after so many calls": sizes},
        )
    ]


def start(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 10: from the command to an answered health check, and what is imported meanwhile."""
    chosen = settings(folder / "service")
    prepare(chosen)
    python_s, whole_s = [], []
    for _ in range(scale.starts):
        step("Python alone")
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        python_s.append(time.perf_counter() - began)
        step("server")
        began = time.perf_counter()
        with server(chosen):
            whole_s.append(time.perf_counter() - began)
    spent = _imports()
    longest = sorted(spent, key=spent.__getitem__, reverse=True)
    ratios = [whole / bare for whole, bare in zip(whole_s, python_s, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return [
        Row(
            "10",
            "Start, from `python -m server serve` to healthy, against Python's own",
            statistics.median(ratios),
            low,
            high,
            goal=None,
            ours=f"{statistics.median(whole_s) * 1000:.0f} ms, of which imports: "
            + ", ".join(f"{name} {spent[name]:.0f} ms" for name in longest[:8]),
            baseline=f"{statistics.median(python_s) * 1000:.0f} ms",
            meaning="How long a restarted process is away.",
            samples={"server_s": whole_s, "python_s": python_s, "imports_ms": dict(spent)},
        )
    ]


def _imports() -> dict[str, float]:
    """Returns the time that importing the server takes, in milliseconds by top-level package."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import server.commands, server.process"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    spent: dict[str, float] = defaultdict(float)
    for own_us, module in _IMPORT.findall(report):
        spent[module.partition(".")[0]] += int(own_us) / 1000
    return spent
