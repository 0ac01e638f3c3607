"""What all commands share: the connection, opened when the first call is made, and the output."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from client.connection import Connection
from client.output import FORMATS, Output
from client.profiles import Profile, chosen

F = TypeVar("F", bound=Callable[..., Any])


class Context:
    """The options before the command."""

    def __init__(self, profile: str, given: Mapping[str, str], *, dev: bool) -> None:
        self.profile_name = profile
        self.dev = dev
        self.given = given

    @functools.cached_property
    def profile(self) -> Profile:
        """Where to call and as whom."""
        return chosen(self.profile_name, self.given, dev=self.dev)

    @functools.cached_property
    def connection(self) -> Connection:
        """The service, called as that profile says."""
        return Connection(self.profile)


def _host_and_port(_context: click.Context, _option: click.Parameter, given: str) -> str:
    """Returns host:port of what may be given as a URL."""
    if given.startswith("http://"):
        raise click.BadParameter("the service is called by TLS: say host:port")
    return given.removeprefix("https://").rstrip("/")


def endpoint_option(envvar: str | None = None) -> Callable[[F], F]:
    """Adds `--endpoint`, with the variable that stands for it."""
    return click.option(
        "--endpoint",
        envvar=envvar,
        default="",
        callback=_host_and_port,
        help="host:port of the service.",
    )


with_context = click.make_pass_decorator(Context)


def output_option(command: F) -> F:
    """Adds `--output`, given to the command as an Output."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        envvar="BILLING_CLI_OUTPUT",
        show_default=True,
        callback=lambda _context, _option, form: Output(form),
        help="How to print. Without a terminal a table is lines of fields with tabs between.",
    )(command)


def limit_option(command: F) -> F:
    """Adds `--limit`."""
    return click.option(
        "--limit", type=click.IntRange(min=1), help="Print this many at most; default all."
    )(command)


def filter_option(example: str) -> Callable[[F], F]:
    """Adds `--filter`."""
    return click.option(
        "--filter",
        "criteria",
        default="",
        metavar="FILTER",
        help=f"Only those that match: {example}",
    )


def key_option(command: F) -> F:
    """Adds `--idempotency-key`."""
    return click.option(
        "--idempotency-key",
        "key",
        default="",
        metavar="UUID",
        help="Of your own choice, such as `uuidgen` prints: for two days, the same command with the "
        "same key is done once, however often you run it.",
    )(command)
