"""How `billing-server` starts, also as `python -m server`: Ctrl-C leaves no traceback while it loads."""

import gc
import os
import signal


def main(name: str = "billing-server") -> None:
    """Runs the command line under that name; never returns."""
    # Where Ctrl-C is ignored, as in the background of a shell, it stays so.
    obeyed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if obeyed:
        signal.signal(signal.SIGINT, _stop)
    # A good part of a second, in which nothing has been done yet, and nothing is garbage.
    gc.disable()
    from server import commands

    gc.enable()
    if obeyed:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    commands.main(name)


def _stop(*_: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
