"""Rows about the cost of a call: 1 and 2 against the empty servicer, 4 through Envoy, 9 in two."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import http
from bench.dependencies import envoy
from bench.load import Generator, Job, Outcome, generator
from bench.measure import Row, Sample, Scale, cpu, format_medians, interleaved, ratio, sample
from bench.requests import GET, INVITE, gets
from bench.service import RESELLER, TOKEN, empty_server, operation_ids, prepare, server, settings

Step = Callable[[str], None]

_REST, _PACED, _DIRECT = "REST", "gRPC at the same pace", "gRPC as fast as it goes"


def invite_job(scale: Scale, calls: int | None = None) -> Job:
    """Returns the job of distinct Invites."""
    return Job(INVITE, calls or scale.calls, scale.at_once, TOKEN, RESELLER)


def get_job(scale: Scale, ids: list[str]) -> Job:
    """Returns the job of Gets of these operations in turn."""
    bodies = [body.hex() for body in gets(ids)]
    return Job(GET, scale.calls, scale.at_once, TOKEN, bodies=bodies)


def against_empty(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Rows 1 and 2."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with ExitStack() as parts:
        empty, empty_at = parts.enter_context(empty_server(folder))
        ours, ours_at = parts.enter_context(server(chosen))
        empty_load = parts.enter_context(generator(empty_at))
        our_load = parts.enter_context(generator(ours_at))
        rows = []
        for number, name, goal in (("1", "Invite", 2.2), ("2", "Operation Get", 1.35)):
            job = invite_job(scale)
            if name != "Invite":
                job = get_job(scale, operation_ids(chosen, 1000))
            found = interleaved(
                {
                    "empty servicer": partial(sample, [empty], partial(empty_load.run, job)),
                    "ours": partial(sample, [ours], partial(our_load.run, job)),
                },
                scale.rounds,
                step,
            )
            base, mine = found["empty servicer"], found["ours"]
            rows.append(
                Row(
                    number,
                    f"{name}, gRPC, against the empty servicer: CPU per call",
                    *ratio(cpu(mine), cpu(base)),
                    goal=goal,
                    ours=format_medians(mine),
                    baseline=format_medians(base),
                    meaning=f"What {name} adds to what grpcio itself costs.",
                    samples=found,
                )
            )
        return rows


def through_envoy(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 4, for a write and for a read: beside gRPC at the pace of REST, and as fast as it goes."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with ExitStack() as parts:
        ours, address = parts.enter_context(server(chosen))
        gate, url = parts.enter_context(envoy(folder / "envoy", [address]))
        load = parts.enter_context(generator(address))
        load.run(invite_job(scale, 1000))
        ids = operation_ids(chosen, 1000)
        invites_url, get_url = f"{url}/billing/v1/customers:invite", f"{url}/operations/{ids[0]}"
        rows = []
        for name, job, act in (
            (
                "Invite",
                invite_job(scale),
                partial(http.invites, invites_url, scale.seconds, scale.at_once),
            ),
            (
                "Operation Get",
                get_job(scale, ids),
                partial(http.gets, get_url, scale.calls, scale.at_once),
            ),
        ):
            found = interleaved(
                _ways(partial(sample, [ours, gate]), load, job, act), scale.rounds, step
            )
            envoy_us = statistics.median(cpu(found[_REST], "Envoy"))
            rows += [
                Row(
                    "4",
                    f"{name}, REST through Envoy against {way}: the server's CPU per call",
                    *ratio(cpu(found[_REST], "server"), cpu(found[way], "server")),
                    goal=1.05,
                    ours=format_medians(found[_REST], "server"),
                    baseline=format_medians(found[way], "server"),
                    meaning=f"What REST costs the server; Envoy's own CPU: {envoy_us:.0f} us a call.",
                    samples={_REST: found[_REST], way: found[way]},
                )
                for way in (_PACED, _DIRECT)
            ]
        return rows


def _ways(
    measured: Callable[[Callable[[], Outcome]], Sample],
    load: Generator,
    job: Job,
    rest: Callable[[], Outcome],
) -> dict[str, Callable[[], Sample]]:
    """Returns the same call three ways; the second waits so as to be no faster than the first was."""
    paces = []

    def noted() -> Sample:
        taken = measured(rest)
        paces.append(taken.per_s)
        return taken

    return {
        _REST: noted,
        _PACED: lambda: measured(lambda: load.run(replace(job, rate=paces[-1]))),
        _DIRECT: lambda: measured(lambda: load.run(job)),
    }


def two_processes(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 9: one server process, and two on one database with the same load over both."""
    with ExitStack() as parts:
        variants = {}
        for count in (1, 2):
            chosen = settings(folder / f"of-{count}")
            prepare(chosen)
            programs, loads = [], []
            for number in range(count):
                program, address = parts.enter_context(server(chosen, name=f"server-{number}"))
                programs.append(program)
                loads.append(parts.enter_context(generator(address)))
            job = Job(INVITE, scale.calls // count, scale.at_once // count, TOKEN, RESELLER)
            variants[f"{count} process(es)"] = partial(
                sample, programs, partial(all_at_once, loads, job)
            )
        found = interleaved(variants, scale.rounds, step)
        one, two = found.values()
        return [
            Row(
                "9",
                "Invite, 2 server processes on one SQLite against 1: CPU per call",
                *ratio(cpu(two), cpu(one)),
                goal=1.15,
                ours=format_medians(two),
                baseline=format_medians(one),
                meaning="What it costs that processes share the work and wait for one writer.",
                samples=found,
            )
        ]


def all_at_once(loads: Sequence[Generator], job: Job) -> Outcome:
    with ThreadPoolExecutor(len(loads)) as threads:
        outcomes = list(threads.map(lambda load: load.run(job), loads))
    codes: Counter[str] = Counter()
    for outcome in outcomes:
        codes.update(outcome.codes)
    return Outcome(
        seconds=max(outcome.seconds for outcome in outcomes),
        codes=dict(codes),
        p50_ms=statistics.mean(outcome.p50_ms for outcome in outcomes),
        p99_ms=max(outcome.p99_ms for outcome in outcomes),
    )
