"""`make fuzz N=…`: as many inputs as asked, a summary, and exit code 1 for anything outside the contract."""

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from tests.fuzz.campaign import FAMILIES, SETTINGS, Campaign
from tests.fuzz.contract import ContractViolation
from tests.fuzz.inputs import Input
from tests.service import running

KEEP = Path("build/fuzz")
# Inputs of one family between two sets of things to name.
_BATCH = 500
# What memory may grow by between a tenth of the run and its end.
_GROWTH, _GROWTH_MIB = 0.2, 24


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--family", choices=FAMILIES, help="only these")
    parser.add_argument("--again", type=Path, nargs="+", help="files of build/fuzz to send again")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        running(Path(folder) / "var", **SETTINGS) as service,
    ):
        campaign = Campaign(service, KEEP)
        try:
            if asked.again:
                return _send_again(campaign, asked.again)
            return _run(campaign, asked.count, asked.seed, asked.family)
        finally:
            campaign.close()


def _run(campaign: Campaign, count: int, seed: int, family: str | None) -> int:
    print(f"{count} inputs, seed {seed}")
    started = time.monotonic()
    plan = [family] if family else list(FAMILIES)
    shares = {name: FAMILIES[name][0] for name in plan}
    wanted = {name: count * share // sum(shares.values()) for name, share in shares.items()}
    early: dict[str, int] = {}
    number = seed
    every_s = 0.5 if sys.stdout.isatty() else 30.0
    with tqdm(
        total=count, unit=" inputs", smoothing=0.01, mininterval=every_s, file=sys.stdout
    ) as bar:
        while left := [name for name in plan if campaign.counts.inputs[name] < wanted[name]]:
            known = campaign.known()
            for name in left:
                number += 1
                batch = min(_BATCH, wanted[name] - campaign.counts.inputs[name])
                campaign.run(name, batch, number, known, bar.update)
                bar.set_postfix(violations=len(campaign.counts.findings), refresh=False)
            campaign.settle()
            memory = campaign.memory.now()
            if not early and bar.n >= count / 10:
                early = memory
    return _report(campaign, time.monotonic() - started, early)


def _report(campaign: Campaign, seconds: float, early: dict[str, int]) -> int:
    counts = campaign.counts
    total = sum(counts.inputs.values())
    print(f"\n{total} inputs in {seconds:.0f} s")
    for name, count in counts.inputs.items():
        print(f"  {count:8} {name}")
    print("answers")
    for label, count in counts.labels.most_common():
        print(f"  {count:8} {label}")
    print("slowest answers")
    for took, name, what in counts.worst():
        print(f"  {took:7.3f} s {name}: {what}")
    print("memory in MiB: at a tenth, at the end, at most")
    late = campaign.memory.now()
    grown = []
    for name, size in late.items():
        first = early.get(name, size)
        print(f"  {name:8} {first:6} {size:6} {campaign.memory.most[name]:6}")
        if size > first * (1 + _GROWTH) + _GROWTH_MIB:
            grown.append(name)
    for finding in counts.findings.values():
        print(f"VIOLATION, {finding.times} times, {finding.family}: {finding.violation}")
    for name in grown:
        print(f"BREACH: the memory of {name} is not flat")
    if campaign.died():
        print("BREACH: a process of the service died")
    if counts.findings:
        print(f"the inputs are in {KEEP}; send one again with: make fuzz AGAIN={KEEP}/000.json")
    return 1 if counts.findings or grown or campaign.died() else 0


def _send_again(campaign: Campaign, files: list[Path]) -> int:
    known = campaign.known()
    for file in files:
        stored = json.loads(file.read_text())
        sent = Input.from_json(json.dumps(stored["input"]), known.secrets)
        print(f"{file}: {sent.transport} {sent.method} {sent.headers}\n  {sent.body[:2000]!r}")
        campaign.counts.labels.clear()
        with suppress(ContractViolation):
            campaign.send(sent)
        campaign.settle()
        print(" ", *(+campaign.counts.labels))
    return 1 if campaign.counts.findings else 0


if __name__ == "__main__":
    sys.exit(main())
