"""A process that reads reports, each for a bounded time: `python -m server.bounces.reader_process`.

A line of JSON in, `[content, reverse_path]` with a character for each byte of the content; one out:
`read_report`'s result, or a text: the trace of a fault of ours. It ends with its input.
"""

import json
import signal
import sys
from typing import NoReturn

from server.bounces.reports import read_report
from server.domain.bounces import BounceReport
from server.telemetry.redacted_logging import trace

# Seconds of the processor's time; a usual report takes some milliseconds.
LONGEST_S = 0.5
_AGAIN_S = 0.05


class _TookTooLongError(BaseException):
    """Nobody catches it, whatever they catch."""


def _end(_signal: int, _frame: object) -> NoReturn:
    raise _TookTooLongError


def main() -> None:
    """Answers until the input ends; what takes too long is no report."""
    # The one who started it ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, _end)
    for line in sys.stdin.buffer:
        content, reverse_path = json.loads(line)
        report: BounceReport | str | None = None
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S, _AGAIN_S)
            try:
                report = read_report(content.encode("latin-1"), reverse_path)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except (_TookTooLongError, RecursionError):
            report = None
        except Exception as fault:
            report = trace(fault)
        sys.stdout.write(f"{json.dumps(report)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
