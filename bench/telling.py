"""`python -m bench.telling`: what metrics, and the line of a call that went well, cost a Get and an Invite.

Thousands of instructions outside the kernel, counted by callgrind as rows 1 and 2, in turn.
"""

import statistics
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.instructions import count, watched
from bench.load import generator
from bench.measure import FULL
from bench.rows_calls import get_job, invite_job
from bench.service import operation_ids, prepare, server, settings

_ROUNDS = 3
_WARM_UP = 600


def _untold(folder: Path, module: str, *arguments: str) -> list[str]:
    return watched(folder, "bench.untold", module, *arguments)


def _quiet(folder: Path, module: str, *arguments: str) -> list[str]:
    return ["env", "BILLING_LOG_LEVEL=warning", *watched(folder, module, *arguments)]


_VARIANTS = {"as it is": watched, "without metrics": _untold, "without the line": _quiet}


def _main() -> None:
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, ExitStack() as parts:
        folder = Path(name)
        running = {}
        for variant, command in _VARIANTS.items():
            chosen = settings(folder / variant.replace(" ", "-"))
            prepare(chosen)
            process, address = parts.enter_context(server(chosen, command=partial(command, folder)))
            running[variant] = chosen, process, parts.enter_context(generator(address))
        for _ in range(_ROUNDS):
            for variant, (chosen, process, load) in running.items():
                invited = count(folder, process, load, invite_job(FULL))
                found["Invite", variant].append(invited)
                gets = get_job(FULL, operation_ids(chosen, _WARM_UP))
                found["Get", variant].append(count(folder, process, load, gets))
    for (method, variant), counts in sorted(found.items()):
        base = statistics.median(found[method, "as it is"])
        median = statistics.median(counts)
        print(
            f"{method:6} {variant:16} {median:7.1f} thousand ({min(counts):.1f} to {max(counts):.1f}), "
            f"{base / median - 1:+.2%} with it"
        )


if __name__ == "__main__":
    _main()
