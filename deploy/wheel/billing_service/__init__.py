"""What the wheel installs: the service's folders, kept apart from other packages, and its commands.

In a checkout `server`, `gateway` and the stubs in `gen` are import roots. As top-level packages of
an environment they would collide with others, the official SDK's stubs first of all. So the wheel
holds them in this folder, and the commands make it an import root for their own processes alone.
"""

import os
import sys
from pathlib import Path


def server() -> None:
    """Runs `billing-server`."""
    _add_import_roots()
    from server.__main__ import main

    main("billing-server")


def client() -> None:
    """Runs `billing`."""
    _add_import_roots()
    from client.start import start

    start("billing")


def _add_import_roots() -> None:
    """Makes the folders importable here and in the processes that are started from here."""
    here = Path(__file__).parent
    roots = [str(here), str(here / "gen")]
    sys.path[:0] = roots
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, *([inherited] if inherited else [])])
