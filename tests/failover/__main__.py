"""The drill: `python -m tests.failover [--random N] [--seed N] [--through haproxy|pgbouncer] [FAULT …]`.

Each fault alone, then N at random. Exit code 1 for a number that must be 0, or a gap over the limit.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from tests.failover.database_routes import ROUTES
from tests.failover.drill import Row, drill
from tests.failover.faults import FAULTS
from tests.failover.network import network
from tests.failover.parts import PartsMissingError, patroni, postgresql, program

# Set in the namespace that the drill makes for itself.
_APART = "FAILOVER_APART"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.failover")
    parser.add_argument("faults", nargs="*", help="only these; by default all")
    parser.add_argument("--random", type=int, default=0, help="so many more, at random")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--through", choices=ROUTES, default="", help="what stands in between")
    parser.add_argument("--postgresql", choices=("15", "18"), default="15")
    asked = parser.parse_args()
    # Whoever ends the drill has it end all that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        programs = postgresql(asked.postgresql)
        for name in ("etcd", "haproxy", "pgbouncer"):
            program(name)
        patroni()
    except PartsMissingError as error:
        print(f"the drill can't be held here: {error}")
        return 1
    if os.geteuid() == 0 and _APART not in os.environ:
        os.environ[_APART] = "1"
        words = ["unshare", "--net", sys.executable, "-m", "tests.failover", *sys.argv[1:]]
        os.execvp(words[0], words)
    apart = _APART in os.environ
    faults = [each for each in FAULTS if not asked.faults or each.name in asked.faults]
    left_out = [each.name for each in faults if each.needs_root and not apart]
    faults = [each for each in faults if each.name not in left_out]
    rng = random.Random(asked.seed)
    faults += [rng.choice(faults) for _ in range(asked.random)]
    if left_out:
        print(f"left out, since only root can cut networks and mount disks: {', '.join(left_out)}")
    print(f"seed {asked.seed}, PostgreSQL {asked.postgresql}, {asked.through or 'no proxy'}")
    rows = []
    with ExitStack() as open_:
        folder = open_.enter_context(tempfile.TemporaryDirectory(prefix="failover"))
        wire = open_.enter_context(network(4)) if apart else None
        progress = open_.enter_context(tqdm(total=len(faults) + 1, unit="fault"))
        progress.set_description("starting the machines")
        held = open_.enter_context(drill(Path(folder), programs, asked.through, wire))
        progress.update()
        for fault in faults:
            progress.set_description(fault.name)
            rows.append(held.run(fault))
            progress.update()
            progress.write(" ".join(map(_text, rows[-1])))
    _print(rows)
    wrong = [(row.fault, found) for row in rows if (found := list(_wrong(row)))]
    for name, found in wrong:
        print(f"WRONG: {name}: {', '.join(found)}")
    print("Something was lost, or took too long." if wrong else "Nothing was lost or done twice.")
    return int(bool(wrong))


def _wrong(row: Row) -> Iterator[str]:
    yield from row.problems
    if row.is_too_long:
        yield (
            f"{row.without_answer_s:.1f} s without an answer, the database was away {row.away_s:.1f} s"
        )
    if row.is_slow_across:
        yield f"{row.across_s:.1f} s until another server knew what was done, after all was over"


def _print(rows: list[Row]) -> None:
    names = [name.replace("_", " ") for name in Row._fields]
    cells = [[_text(value) for value in row] for row in rows]
    print()
    width = max(len(row.fault) for row in rows)
    for index, name in enumerate(names[1:], 1):
        print(f"{index:2} {name}")
    print(" " * width, *(f"{index:>5}" for index in range(1, len(names))))
    for row in cells:
        print(f"{row[0]:{width}}", *(f"{cell:>5}" for cell in row[1:]))
    print()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
