"""Runs a module of ours on a machine that callgrind makes fifty times slower.

What goes by the clock goes as much slower: else threads would take turns within each call, and calls
that come at once would not share a transaction.
"""

import runpy
import sys

from server.monitoring import loop_delay
from server.storage.sql import batches

TIMES = 50

for name in ("_LINGER_S", "_LINGER_MOST_S", "_LINGER_EACH_S", "_ANSWER_WITHIN_S"):
    setattr(batches, name, getattr(batches, name) * TIMES)
loop_delay.EVERY_S *= TIMES
sys.setswitchinterval(sys.getswitchinterval() * TIMES)
module, *sys.argv[1:] = sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
