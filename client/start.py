"""Starts `billing` so that Ctrl-C leaves no traceback, whenever it comes."""

import contextlib
import os
import signal
import sys

_INTERRUPTED = 130


def start(name: str) -> None:
    """Runs the command line under that name; never returns."""
    # Where Ctrl-C is ignored, as in the background of a shell, it stays so.
    obeyed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if obeyed:
        signal.signal(signal.SIGINT, _stop)
    # A good part of a second, in which nothing has been done yet.
    from client.cli import main

    try:
        if obeyed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main(name)
    except KeyboardInterrupt:
        _stop()
    except SystemExit as ended:
        if ended.code != _INTERRUPTED:
            raise
        # grpcio would wait two seconds and more for streams that nobody reads any more.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(_INTERRUPTED)
    finally:
        # While the interpreter ends, everything has been said and written.
        if obeyed:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(*_: object) -> None:
    os.write(2, b"billing: stopped\n")
    os._exit(_INTERRUPTED)
