"""`make split`: 200 resellers, of which the first makes a fifth of all calls, on 4 databases and on one.

Prints how the calls share out, and what moving the greatest reseller takes; exit code 1 if any call was
answered otherwise than by one database, or `server check` finds a fault.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.split.simulation import Report, simulate
from tests.storage.databases import Databases, postgres_server


def main() -> int:
    parser = argparse.ArgumentParser("make split", description=__doc__)
    parser.add_argument("--databases", type=int, default=4)
    parser.add_argument("--resellers", type=int, default=200)
    parser.add_argument("--calls", type=int, default=10_000, help="before the move, and after it")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres_server() as url:
        databases = Databases("postgresql", Path(folder), url)
        report = asyncio.run(
            simulate(databases, Path(folder), **vars(given)),
        )
    _print(report)
    return bool(report.differed or report.findings)


def _print(report: Report) -> None:
    for name, number in report.done.items():
        print(f"{name:32} {number:7,}")
    calls = sum(report.calls)
    for place, number in enumerate(report.calls, 1):
        print(f"calls of database {place:<14} {number:7,}  {number / calls:.0%}")
    for name, number in report.moved.items():
        print(f"moved: {name:25} {number:7,}")
    print(f"moved within {report.move_s:22.2f} s")
    for text in [*report.differed[:20], *report.findings]:
        print(text)
    print(f"answered otherwise than by one database: {len(report.differed)}")


if __name__ == "__main__":
    sys.exit(main())
