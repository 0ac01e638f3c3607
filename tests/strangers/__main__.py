"""Runs the attacks in full: `python -m tests.strangers [--small] [--seconds N] [attack …]`."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from tests.strangers.attacks import all_attacks
from tests.strangers.campaign import Phase, Report, attackable, run

_COLUMNS = ("", "answers", "wrong", "slowest", "newcomer", "gateway", "files", "server", "files")


def main() -> int:
    """Returns 1 where the others noticed anything."""
    attacks = all_attacks()
    parser = argparse.ArgumentParser(prog="tests.strangers")
    parser.add_argument("names", nargs="*", metavar="attack", help=f"of {', '.join(attacks)}")
    parser.add_argument("--small", action="store_true", help="in the numbers of make test")
    parser.add_argument("--seconds", type=float, default=10, help="that each one lasts")
    asked = parser.parse_args()
    names = asked.names or list(attacks)
    if unknown := set(names) - set(attacks):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    reports = []
    total = sum(attacks[name].small if asked.small else attacks[name].full for name in names)
    with tqdm(total=total) as progress:
        for name in names:
            progress.set_description(attacks[name].name)
            with (
                tempfile.TemporaryDirectory(prefix="strangers") as folder,
                attackable(attacks[name].fakes, Path(folder)) as service,
            ):
                reports.append(
                    asyncio.run(
                        run(
                            name,
                            service,
                            small=asked.small,
                            seconds=asked.seconds,
                            progress=progress.update,
                        )
                    )
                )
            # At once: hours of attacks are not to be lost with the last of them.
            with progress.external_write_mode(sys.stdout):
                _print(reports[-1])
    broken = any(report.broken for report in reports)
    print("\nThe rule is broken." if broken else "\nThe others noticed nothing.")
    return int(broken)


def _print(report: Report) -> None:
    print(f"\n{report.attack.name}")
    rows = [_COLUMNS]
    for when in ("before", "during", "after"):
        phase: Phase = getattr(report, when)
        noticed = phase.noticed
        rows.append(
            (
                when,
                str(noticed.answers),
                str(len(noticed.wrong)),
                f"{noticed.slowest_s * 1000:.0f} ms",
                f"{noticed.slowest_newcomer_s * 1000:.0f} ms",
                f"{phase.gateway.mib} MiB",
                str(phase.gateway.files),
                f"{phase.server.mib} MiB",
                str(phase.server.files),
            )
        )
    for row in rows:
        print(f"  {row[0]:8}" + "".join(f"{cell:>10}" for cell in row[1:]))
    for broken in report.broken:
        print(f"  BROKEN: {broken}")


if __name__ == "__main__":
    sys.exit(main())
