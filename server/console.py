"""What a command says while it starts or ends: lines for people, or the log's where that is JSON."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

import click
import uvloop

from server.config import SettingsError
from server.settings_sources import LoadedSettings, load_settings, log_format
from server.telemetry import logs

_log = logging.getLogger(__name__)
_ERROR = "error: "


def settings_and_log() -> LoadedSettings:
    """Returns the settings, from when on the log looks as they say; raises SettingsError."""
    try:
        loaded = load_settings()
    except SettingsError:
        logs.configure(log_format(), "info")
        raise
    logs.configure(loaded.settings.log_format, loaded.settings.log_level)
    return loaded


def say(text: str, level: int = logging.WARNING, prefix: str = "") -> None:
    """Writes a line to stderr; `prefix` is for people."""
    if logs.is_json():
        _log.log(level, "%s", text)
    else:
        click.echo(f"{prefix}{text}", err=True)


def end(error: SettingsError) -> NoReturn:
    """Says what is wrong, a line each, and ends the process with code 1."""
    for line in str(error).splitlines():
        say(line, logging.ERROR, _ERROR)
    sys.exit(1)


def end_by_fault(fault: Exception) -> NoReturn:
    """Logs a fault of ours and ends the process with code 1; before there is a log, Python prints it."""
    if not logs.is_configured():
        raise fault
    logs.tell_fault("ended by a fault", fault)
    sys.exit(1)


def said_error(line: str) -> str:
    """Returns which error a line that another process has written by `end` tells, "" for none."""
    if line.startswith(_ERROR):
        return line.removeprefix(_ERROR)
    try:
        told = json.loads(line)
        is_error = (told["logger"], told["level"]) == (__name__, "ERROR")
        return str(told["message"]) if is_error else ""
    except (ValueError, TypeError, KeyError):
        return ""


@contextmanager
def quiet_end() -> Iterator[None]:
    """Ends the process by the code that shells know where whoever reads its output has enough, as `head`.

    Not by 0 or 1, which a command such as `check` gives for what it has found.
    """
    try:
        yield
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        _write_nowhere(sys.stdout, sys.stderr)
        sys.exit(128 + signal.SIGPIPE)


def say_if_read(text: str) -> None:
    """Writes a line to stdout for whoever is there still: a pipe may have ended, a terminal be closed."""
    try:
        click.echo(text)
    except OSError:
        _write_nowhere(sys.stdout)


def _write_nowhere(*streams: TextIO | None) -> None:
    # Else Python tries at its end again to write what is left.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, streams):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a process to its end, in an event loop that logs its faults as everything else is."""

    logs.take_python_faults()

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(logs.tell_loop_fault)
        await work

    asyncio.set_event_loop_policy(None)
    uvloop.run(watched())
