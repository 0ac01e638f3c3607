"""`billing --help`: the options before the command, and all commands."""

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import grpc

from client import errors
from client.commands import (
    accounts,
    customer_import,
    customers,
    events,
    invitations,
    login,
    operations,
    webhooks,
)
from client.context import Context, endpoint_option
from client.errors import ClientError


def _version() -> str:
    try:
        return version("billing-service")
    except PackageNotFoundError:
        return "of a checkout"


class _UnreadError(Exception):
    """Whoever read the output has enough, as `head` has."""


class _Commands(click.Group):
    """Tells `main` where nobody reads the output any more; click would end with 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _telling_unread():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _telling_unread():
            return super().invoke(ctx)


@contextmanager
def _telling_unread() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _UnreadError from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--dev", is_flag=True, help="Use a running `make run`: dev.json in BILLING_VAR or ./var."
)
@click.option(
    "--profile",
    envvar="BILLING_CLI_PROFILE",
    default="",
    help="Which log-in to use; default the one of `billing profile use`.",
)
@click.option(
    "--reseller",
    envvar="BILLING_CLI_RESELLER",
    default="",
    help="The reseller's ID; default that of the log-in.",
)
@endpoint_option("BILLING_CLI_ENDPOINT")
@click.option(
    "--ca",
    envvar="BILLING_CLI_CA",
    default="",
    help="File of CA certificates (PEM) to verify the service by; default the public ones.",
)
@click.option("--key-file", envvar="BILLING_CLI_KEY_FILE", default="", hidden=True)
@click.version_option(_version(), message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    dev: bool,
    profile: str,
    reseller: str,
    endpoint: str,
    ca: str,
    key_file: str,
) -> None:
    """Invite customers, and follow what becomes of their invitations.

    \b
    Begin with:
      billing login --endpoint billing.example.com:443 --key-file key.json --reseller ID
      billing customers invite --name "Horns and Hooves" --email ostap@example.com --wait
      billing customers list

    \b
    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the service is away, 4 not logged in, 130 Ctrl-C,
    141 nobody reads the output.

    \b
    The environment goes before the profile: BILLING_CLI_PROFILE, BILLING_CLI_RESELLER,
    BILLING_CLI_ENDPOINT, BILLING_CLI_CA, BILLING_CLI_OUTPUT, and, to prove who calls,
    BILLING_CLI_TOKEN or BILLING_CLI_KEY_FILE.

    \b
    Completion, for bash (zsh, fish: the same with their names):
      eval "$(_BILLING_COMPLETE=bash_source billing)"
    """
    given = {
        "reseller": reseller,
        "endpoint": endpoint,
        "ca": ca,
        "key_file": key_file,
        # From the environment alone: the arguments of a command are seen by all users of a machine.
        "token": os.environ.get("BILLING_CLI_TOKEN", ""),
    }
    context.obj = Context(profile, given, dev=dev)


customers.customers.add_command(customer_import.import_customers)
for command in (
    login.login,
    login.profile,
    customers.customers,
    invitations.invitations,
    operations.operations,
    events.events,
    webhooks.webhooks,
    accounts.accounts,
):
    cli.add_command(command)


def main(name: str = "billing") -> None:
    """Runs a command; whatever goes wrong is one line."""
    # grpcio's own notes on connections that fail; what they mean is told below.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _accept_any_output()
    try:
        code = cli.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except ClientError as error:
        _end(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        _end(_usage(error, name), errors.USAGE)
    except click.ClickException as error:
        _end(error.format_message(), error.exit_code)
    except grpc.RpcError as error:
        failure = errors.of_call(error, "the service")
        _end(str(failure), failure.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end("stopped", errors.INTERRUPTED)
    except (_UnreadError, BrokenPipeError):
        # Else Python tries at its end again to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(errors.UNREAD)
    except OSError as error:
        _end(f"{error.filename or 'output'}: {error.strerror}", errors.REFUSED)
    except UnicodeEncodeError:
        _end(
            "what was given is not in the encoding of your terminal, or of LANG and LC_ALL: have them "
            "name a locale of UTF-8, such as C.UTF-8",
            errors.USAGE,
        )
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        _end(
            f"a defect of this program: {type(error).__name__}: {error} ({where}); please report it",
            errors.REFUSED,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _accept_any_output() -> None:
    """Has letters that the output's encoding lacks escaped, and drops output where there is no stdout."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the program ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _usage(error: click.UsageError, name: str) -> str:
    """Returns what is wrong with the words of a command, and where to read how they are."""
    command = error.ctx.command_path if error.ctx else name
    said = error.format_message().rstrip(".")
    usage = f"{said}{' See' if said.endswith('?') else '; see'} `{command} --help`"
    if isinstance(error, click.NoSuchOption):
        before = {option for each in cli.params for option in each.opts}
        if error.option_name in before:
            return f"{error.option_name} stands before the command: `{name} {error.option_name} …`"
    return usage


def _end(message: str, code: int) -> None:
    click.echo(f"billing: {' '.join(message.split())}", err=True)
    sys.exit(code)
