"""Child processes that end with the process that started them."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def ends_with_parent(by: signal.Signals) -> Callable[[], None]:
    """Returns a `preexec_fn` by which Linux sends the child this signal when its parent is killed.

    So no port stays taken. Other systems have no such thing: there it does nothing.
    """
    if sys.platform != "linux":
        return lambda: None
    # Loaded before the fork: little is safe between a fork and an exec.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, by)
