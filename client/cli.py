"""`billing --help`: the options before the command, and all commands."""

import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
from client.context import Context
from client.errors import ClientError


def _version() -> str:
    try:
        return version("billing-service")
    except PackageNotFoundError:
        return "of a checkout"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--dev", is_flag=True, help="Use a running `make run`: dev.json in BILLING_VAR or ./var."
)
@click.option("--profile", envvar="BILLING_CLI_PROFILE", default="", help="Which log-in to use.")
@click.option("--reseller", envvar="BILLING_CLI_RESELLER", default="", help="The reseller's ID.")
@click.option(
    "--endpoint", envvar="BILLING_CLI_ENDPOINT", default="", help="host:port of the service."
)
@click.option(
    "--ca", envvar="BILLING_CLI_CA", default="", help="Certificates to verify it by, PEM."
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
    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the service is away, 4 not logged in, 130 Ctrl-C.

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
    try:
        code = cli.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except ClientError as error:
        _end(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except grpc.RpcError as error:
        told = errors.of_call(error, "the service")
        _end(str(told), told.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end("stopped", errors.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _end(f"{error.filename or 'output'}: {error.strerror}", errors.REFUSED)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        _end(
            f"a defect of this program: {type(error).__name__}: {error} ({where}); please report it",
            errors.REFUSED,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> None:
    click.echo(f"billing: {' '.join(message.split())}", err=True)
    sys.exit(code)
