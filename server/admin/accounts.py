"""`service-accounts` and `keys`: programs that call, and what they prove themselves by."""

import json
import os
from pathlib import Path

import click

from server.admin.context import (
    AdminContext,
    AdminError,
    admin_context,
    by_option,
    id_option,
    json_option,
    name_argument,
    rfc3339,
    show,
    show_all,
)
from server.domain import ids
from server.identity.account_keys import new_account_key


@click.group()
def service_accounts() -> None:
    """Add, list and remove service accounts."""


@service_accounts.command("add")
@name_argument
@id_option
@by_option
@json_option
@admin_context
def add_account(context: AdminContext, name: str, id_: str | None, by: str, as_json: bool) -> None:
    """Add a service account, or rename the one with the given ID.

    It can call once it has a key (`keys add`) and a role (`roles grant`).

    \b
    Example:
      billing-server service-accounts add "Nightly invitations"
    """
    account_id = id_ or ids.new_id(ids.SERVICE_ACCOUNT)
    context.ask(lambda storage: storage.add_service_account(account_id, name, context.clock(), by))
    show({"id": account_id, "name": name}, f"added service account {account_id}", as_json=as_json)


@service_accounts.command("list")
@json_option
@admin_context
def list_accounts(context: AdminContext, as_json: bool) -> None:
    """List all service accounts, oldest first.

    \b
    Example:
      billing-server service-accounts list
    """
    found = context.ask(lambda storage: storage.list_service_accounts())
    show_all(
        [
            {"id": each.id, "name": each.name, "created_at": rfc3339(each.created_at)}
            for each in found
        ],
        as_json=as_json,
    )


@service_accounts.command("remove")
@click.argument("account_id", metavar="SERVICE_ACCOUNT_ID")
@by_option
@admin_context
def remove_account(context: AdminContext, account_id: str, by: str) -> None:
    """Remove a service account: its keys, roles and tokens end at once.

    \b
    Example:
      billing-server service-accounts remove aje0123456789abcdefg
    """
    if not context.ask(
        lambda storage: storage.remove_service_account(account_id, context.clock(), by)
    ):
        raise AdminError(f"there is no service account {account_id}; see `service-accounts list`")
    click.echo(f"removed service account {account_id}")


@click.group()
def keys() -> None:
    """Add, list and remove service accounts' keys."""


@keys.command("add")
@click.argument("account_id", metavar="SERVICE_ACCOUNT_ID")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the key to; it must not exist yet.",
)
@by_option
@json_option
@admin_context
def add_key(context: AdminContext, account_id: str, output: Path, by: str, as_json: bool) -> None:
    """Make a key for a service account.

    Writes it to a file that the official SDKs read. The file's owner alone can read it. The private
    key is kept nowhere else.

    \b
    Example:
      billing-server keys add aje0123456789abcdefg --output key.json
      python -c 'import json, yandexcloud; yandexcloud.SDK(service_account_key=json.load(open("key.json")))'
    """
    key, content = new_account_key(account_id, context.clock())
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise AdminError(f"can't write {output}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(json.dumps(content, indent=2) + "\n")
        context.ask(lambda storage: storage.add_account_key(key, by))
    except BaseException:
        output.unlink(missing_ok=True)
        raise
    record = {"id": key.id, "service_account_id": account_id, "file": str(output)}
    show(record, f"added key {key.id}, written to {output}", as_json=as_json)


@keys.command("list")
@click.option("--service-account", "account_id", help="Only this account's.")
@json_option
@admin_context
def list_keys(context: AdminContext, account_id: str | None, as_json: bool) -> None:
    """List keys, oldest first.

    \b
    Example:
      billing-server keys list --service-account aje0123456789abcdefg
    """
    found = context.ask(lambda storage: storage.list_account_keys(account_id))
    show_all(
        [
            {
                "id": key.id,
                "service_account_id": key.service_account_id,
                "key_algorithm": key.algorithm,
                "created_at": rfc3339(key.created_at),
            }
            for key in found
        ],
        as_json=as_json,
    )


@keys.command("remove")
@click.argument("key_id")
@by_option
@admin_context
def remove_key(context: AdminContext, key_id: str, by: str) -> None:
    """Remove a key; tokens got with it end at once.

    \b
    Example:
      billing-server keys remove key0123456789abcdefg
    """
    if not context.ask(lambda storage: storage.remove_account_key(key_id, context.clock(), by)):
        raise AdminError(f"there is no key {key_id}; see `keys list`")
    click.echo(f"removed key {key_id}")
