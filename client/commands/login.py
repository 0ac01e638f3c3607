"""`billing login` and `billing profile`: where to call and as whom, kept for next time."""

import sys
from dataclasses import replace
from pathlib import Path

import click
import yandex.cloud.billing.v1.billing_account_service_pb2 as accounts_pb2
import yandex.cloud.billing.v1.billing_account_service_pb2_grpc as accounts_grpc

from client.connection import Connection
from client.context import Context, endpoint_option, with_context
from client.credentials import read_key_file
from client.errors import USAGE, ClientError
from client.profiles import Profile, Profiles


@click.command()
@click.option("--key-file", type=click.Path(path_type=Path), help="A service account's key file.")
@click.option("--token-command", default="", help="A command that prints a token each time.")
@click.option("--token-stdin", is_flag=True, help="Read an IAM token from standard input.")
@click.option("--profile", "name", default="", help="Name to keep it under; default `default`.")
@endpoint_option()
@click.option("--reseller", default="", help="The ID of the reseller to work for.")
@click.option(
    "--ca",
    default="",
    help="File of CA certificates (PEM) to verify the service by; default the public ones.",
)
@with_context
def login(
    context: Context,
    key_file: Path | None,
    token_command: str,
    token_stdin: bool,
    name: str,
    endpoint: str,
    reseller: str,
    ca: str,
) -> None:
    """Try credentials, and keep them for next time.

    They are in a file that only you can read; IAM tokens for a key file are made and renewed by
    themselves.

    \b
    Examples:
      billing login --endpoint billing.example.com:443 --reseller ID --key-file key.json
      billing login --endpoint billing.example.com:443 --reseller ID --token-command "my-sso token"
      printf %s "$TOKEN" | billing login --endpoint billing.example.com:443 --reseller ID --token-stdin
    """
    if sum((key_file is not None, bool(token_command), token_stdin)) != 1:
        raise ClientError(
            "say who you are by one of --key-file FILE, --token-command COMMAND and --token-stdin",
            USAGE,
        )
    name = name or context.profile_name or "default"
    profiles = Profiles()
    before = profiles.all.get(name, Profile())
    asked = {"endpoint": endpoint, "reseller": reseller, "ca": ca}
    if context.dev:
        before = context.profile
    where = {
        what: asked[what] or context.given.get(what) or getattr(before, what) for what in asked
    }
    if not where["endpoint"]:
        raise ClientError("say which service with --endpoint host:port", USAGE)
    if where["ca"]:
        where["ca"] = str(Path(where["ca"]).expanduser().absolute())
    profile = Profile(**where)
    if key_file:
        read_key_file(key_file)
        profile = replace(profile, key_file=str(key_file.expanduser().absolute()))
    elif token_command:
        profile = replace(profile, token_command=token_command)
    else:
        profile = replace(profile, token=sys.stdin.read(16_384).strip())
        if not profile.token:
            raise ClientError("there was no token on standard input", USAGE)
    connection = Connection(profile)
    request = accounts_pb2.ListBillingAccountsRequest(page_size=1000)
    seen = connection.call(
        accounts_grpc.BillingAccountServiceStub(connection.channel).List, request
    )
    profiles.save(name, profile)
    click.echo(
        f"logged in at {profile.endpoint} as profile {name}; you see "
        f"{len(seen.billing_accounts)}{' or more' if seen.next_page_token else ''} billing accounts"
    )


@click.group()
def profile() -> None:
    """See the log-ins, and choose one."""


@profile.command("list")
def list_profiles() -> None:
    """List the log-ins; the one in use has a star.

    \b
    Example:
      billing profile list
    """
    profiles = Profiles()
    if not profiles.all:
        click.echo("none yet: make one with `billing login`", err=True)
    for name, each in sorted(profiles.all.items()):
        star = "*" if name == profiles.current else " "
        who = each.key_file or each.token_command or "a token"
        click.echo(f"{star} {name}\t{each.endpoint}\t{each.reseller or '-'}\t{who}")


@profile.command("use")
@click.argument("name")
def use_profile(name: str) -> None:
    """Use this log-in from now on.

    \b
    Example:
      billing profile use sandbox
    """
    Profiles().use(name)
    click.echo(f"using {name}")
