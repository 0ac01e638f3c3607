"""Child processes end with the process that started them, on Linux."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

_PARENT = """
import signal, subprocess, sys
from files.child_processes import ends_with_parent
command = [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"]
child = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=ends_with_parent(signal.SIGTERM))
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""


def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert not select.select([child], [], [], 0)[0]
            parent.kill()
            assert select.select([child], [], [], 10)[0]
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)
