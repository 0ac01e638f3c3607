"""Runs a module of ours on a machine that callgrind makes fifty times slower.

What goes by the clock goes as much slower: else threads would take turns within each call, and calls
that come at once would not share a transaction.
"""

import runpy
import sys
from types import ModuleType

from server.monitoring import health, loop_delay
from server.rpc.streams import feeds, streams
from server.storage.sql import batches, seen_position
from server.telemetry import call_log

TIMES = 50
_TIMES_OF: dict[ModuleType, tuple[str, ...]] = {
    batches: ("_LINGER_S", "_LINGER_MOST_S", "_LINGER_EACH_S", "_ANSWER_WITHIN_S", "_LOOK_EVERY_S"),
    call_log: ("_WRITE_EVERY_S",),
    feeds: ("_LOOK_EVERY_S",),
    health: ("AWAY_AFTER_S", "_PROBE_EVERY_S"),
    loop_delay: ("EVERY_S",),
    seen_position: ("_ADVANCE_EVERY_S",),
    streams: ("_LOOK_EVERY_S",),
}

for slowed, names in _TIMES_OF.items():
    for name in names:
        setattr(slowed, name, getattr(slowed, name) * TIMES)
sys.setswitchinterval(sys.getswitchinterval() * TIMES)
module, *sys.argv[1:] = sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
