"""Measuring side by side: A B A B …, medians and spread."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load import Outcome
from bench.processes import Running


@dataclass(frozen=True)
class Scale:
    """How much is measured. Times in seconds."""

    rounds: int
    calls: int
    seconds: float
    customers: tuple[int, int, int]
    memory_calls: tuple[int, int]
    mails: int
    starts: int
    at_once: int = 64


# Many short rounds: what is compared then runs within the same seconds of a machine whose speed
# changes from minute to minute.
FULL = Scale(
    rounds=25,
    calls=6_000,
    seconds=3,
    customers=(1_000, 100_000, 1_000_000),
    memory_calls=(10_000, 1_000_000),
    mails=5_000,
    starts=9,
)
QUICK = Scale(
    rounds=5,
    calls=5_000,
    seconds=3,
    customers=(1_000, 10_000, 100_000),
    memory_calls=(10_000, 50_000),
    mails=1_500,
    starts=3,
)


@dataclass(frozen=True)
class Sample:
    """One run of one variant. `cpu_us` is CPU time for each call, by program.

    The latencies are 0 where none were taken.
    """

    calls: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A line of the table. `ratio` is the median over the rounds, `low` and `high` its quartiles.

    `goal` is what the ratio must reach: at most that, or at least if `at_least`. None: told only.
    """

    number: str
    name: str
    ratio: float
    low: float
    high: float
    goal: float | None
    ours: str
    baseline: str
    meaning: str
    at_least: bool = False
    samples: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Tells whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def sample(programs: Sequence[Running], act: Callable[[], Outcome]) -> Sample:
    """Runs a load and takes the CPU time that the programs spent on it."""
    before = [program.cpu_s() for program in programs]
    outcome = act()
    calls = outcome.good
    return Sample(
        calls=calls,
        per_s=calls / outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        cpu_us={
            program.name: (program.cpu_s() - start) / calls * 1e6
            for program, start in zip(programs, before, strict=True)
        },
    )


def interleaved(
    variants: Mapping[str, Callable[[], Sample]], rounds: int, step: Callable[[str], None]
) -> dict[str, list[Sample]]:
    """Runs each variant once to warm up, and then all of them in turn, `rounds` times."""
    found: dict[str, list[Sample]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            step(name)
            taken = run()
            if number:
                found[name].append(taken)
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """Returns median and quartiles of the rounds' ratios: each compares what ran side by side."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    low, _, high = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    return statistics.median(ratios), low, high


def cpu(samples: Sequence[Sample], *programs: str) -> list[float]:
    """Returns the CPU time for each call of all or the named programs, in microseconds."""
    return [
        sum(us for name, us in each.cpu_us.items() if not programs or name in programs)
        for each in samples
    ]


def rates(samples: Sequence[Sample]) -> list[float]:
    """Returns calls a second."""
    return [each.per_s for each in samples]


def format_medians(samples: Sequence[Sample], *programs: str) -> str:
    """Returns the medians in words."""
    median = statistics.median
    words = [f"{median(cpu(samples, *programs)):.0f} us CPU", f"{median(rates(samples)):,.0f}/s"]
    if all(each.p99_ms for each in samples):
        words += [
            f"p50 {median(each.p50_ms for each in samples):.1f} ms",
            f"p99 {median(each.p99_ms for each in samples):.1f} ms",
        ]
    return ", ".join(words)
