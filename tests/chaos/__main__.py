"""The long run of the process killer: `python -m tests.chaos [--kills N] [--seed N] [sqlite] [postgresql]`."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from tests.chaos.process_killer import exposed, kill_processes

_KINDS = ("sqlite", "postgresql")


def main() -> int:
    """Returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("kinds", nargs="*", default=_KINDS, help="of databases")
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    reports = {}
    with tqdm(total=asked.kills, unit="kill") as progress:
        for number, kind in enumerate(asked.kinds):
            share = asked.kills // len(asked.kinds)
            share += number < asked.kills % len(asked.kinds)
            progress.set_description(kind)
            with (
                tempfile.TemporaryDirectory(prefix="chaos") as folder,
                exposed(kind, Path(folder)) as (running, database),
            ):
                reports[kind] = asyncio.run(
                    kill_processes(running, database, share, asked.seed, progress.update)
                )
    for kind, report in reports.items():
        print(f"\n{kind}", *report.lines, sep="\n")
    wrong = any(report.findings.wrong for report in reports.values())
    print("\nSomething was lost." if wrong else "\nNothing was lost.")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
