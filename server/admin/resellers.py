"""`resellers`: who invites customers."""

import click

from server.admin.session import (
    AdminError,
    Services,
    by_option,
    id_option,
    json_option,
    name_argument,
    rfc3339,
    services,
    show,
    show_all,
)
from server.domain import ids


@click.group()
def resellers() -> None:
    """Add, list and remove resellers."""


@resellers.command()
@name_argument
@id_option
@by_option
@json_option
@services
def add(where: Services, name: str, id_: str | None, by: str, as_json: bool) -> None:
    """Add a reseller, or rename the one with the given ID.

    NAME is what invited customers read in their e-mail.

    \b
    Examples:
      python -m server resellers add "Horns and Hooves"
      python -m server resellers add "Horns and Hooves" --id horns-and-hooves
    """
    reseller_id = id_ or ids.new_id(ids.BILLING_ACCOUNT)
    where.ask(lambda storage: storage.add_reseller(reseller_id, name, where.clock(), by))
    show({"id": reseller_id, "name": name}, f"added reseller {reseller_id}", as_json=as_json)


@resellers.command("list")
@json_option
@services
def list_(where: Services, as_json: bool) -> None:
    """List all resellers, oldest first.

    \b
    Example:
      python -m server resellers list --json
    """
    found = where.ask(lambda storage: storage.list_resellers())
    show_all(
        [
            {"id": each.id, "name": each.name, "created_at": rfc3339(each.created_at)}
            for each in found
        ],
        as_json=as_json,
    )


@resellers.command()
@click.argument("reseller_id")
@by_option
@services
def remove(where: Services, reseller_id: str, by: str) -> None:
    """Remove a reseller: all roles for it end at once.

    What it has invited stays recorded. Adding it again with its ID brings it back, without roles.

    \b
    Example:
      python -m server resellers remove horns-and-hooves
    """
    if not where.ask(lambda storage: storage.remove_reseller(reseller_id, where.clock(), by)):
        raise AdminError(f"there is no reseller {reseller_id}; see `resellers list`")
    click.echo(f"removed reseller {reseller_id}")
