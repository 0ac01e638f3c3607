"""Load over HTTP: wrk with a body of its own for each Invite, h2load for reads."""

import json
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.load import Outcome, percentile
from bench.service import RESELLER, TOKEN

_SCRIPT = Path(__file__).parent / "wrk" / "invite.lua"


def missing_tools() -> list[str]:
    """Returns the names of the programs that are not installed."""
    return [name for name in ("wrk", "h2load") if not shutil.which(name)]


def invites(url: str, seconds: float, at_once: int) -> Outcome:
    """Has wrk send Invites over HTTP/1.1; raises RuntimeError if any failed."""
    answer = subprocess.run(
        [
            *("wrk", "-t1", f"-c{at_once}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"),
            *("-s", str(_SCRIPT), url, "--", TOKEN, RESELLER, secrets.token_hex(4)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = json.loads(answer.strip().splitlines()[-1])
    if found["failed"] or not found["calls"]:
        raise RuntimeError(f"calls failed: {found}")
    return Outcome(found["seconds"], {"OK": found["calls"]}, found["p50_ms"], found["p99_ms"])


def gets(url: str, calls: int, at_once: int) -> Outcome:
    """Has h2load send one GET over and over, by HTTP/2; raises RuntimeError if any failed."""
    with tempfile.NamedTemporaryFile() as log:
        answer = subprocess.run(
            [
                *("h2load", "-t1", "-c4", f"-m{at_once // 4}", f"-n{calls}"),
                *("-H", f"authorization: Bearer {TOKEN}", f"--log-file={log.name}", url),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines = [line.split() for line in Path(log.name).read_text().splitlines()]
    latencies = sorted(int(line[2]) / 1e6 for line in lines)
    good = sum(line[1] == "200" for line in lines)
    if good != calls:
        raise RuntimeError(f"calls failed: {answer}")
    starts = [int(line[0]) / 1e6 for line in lines]
    ends = [start + int(line[2]) / 1e6 for start, line in zip(starts, lines, strict=True)]
    return Outcome(
        max(ends) - min(starts),
        {"OK": good},
        percentile(latencies, 0.5) * 1000,
        percentile(latencies, 0.99) * 1000,
    )
