"""What several commands share: settings, an option, the service's clock, a bar of progress."""

import logging
import sys
from datetime import datetime
from typing import Any

import click

from server import console
from server.config import Settings
from server.settings_sources import read_settings, require_for_production
from server.telemetry import logs

dev_option = click.option(
    "--dev",
    "for_development",
    is_flag=True,
    help="Accept the default mail settings, which work on this machine alone.",
)


def command_settings(*, for_production: bool = False) -> Settings:
    """Returns the settings, from when on the log looks as they say; raises SettingsError."""
    loaded = console.settings_and_log()
    if for_production:
        require_for_production(loaded)
    return loaded.settings


def service_clock() -> datetime:
    """Returns the time of the service, which is ahead where the folder is one of a sandbox."""
    from server.sandbox.clock import clock_of

    return clock_of(read_settings().var)()


class Copying:
    """Shows how far copying has come, once there is any: a bar, or in a log a line each tenth."""

    def __init__(self, label: str = "copying rows") -> None:
        self._label = label
        self._bar: Any = None
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        if logs.is_json() or not sys.stderr.isatty():
            tenths, self._tenths = self._tenths, done * 10 // total
            if tenths < self._tenths:
                console.say(f"{self._label}: {done:,} of {total:,}", logging.INFO)
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
        self._bar.update(done - self._bar.pos)
        if done >= total:
            self._bar.render_finish()
