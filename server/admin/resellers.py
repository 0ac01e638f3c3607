"""`resellers`: who invites customers."""

import click
from email_validator import EmailNotValidError, validate_email

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
from server.domain.access import Reseller
from server.domain.origins import parse_origin
from server.domain.texts import is_visible, unfit

_LONGEST_DETAIL = 300


def _check_address(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Returns an address as it stands in a header: in ASCII."""
    if not value:
        return value
    try:
        found = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise AdminError(f"not an e-mail address: {error}") from None
    if found.ascii_email is None:
        raise AdminError("a contact's address must be ASCII before the @")
    return found.ascii_email


@click.group()
def resellers() -> None:
    """Add, list, suspend, resume and remove resellers."""


@resellers.command()
@name_argument
@id_option
@by_option
@json_option
@admin_context
def add(context: AdminContext, name: str, id_: str | None, by: str, as_json: bool) -> None:
    """Add a reseller, or rename the one with the given ID.

    NAME is what invited customers read in their e-mail.

    \b
    Examples:
      billing-server resellers add "Horns and Hooves"
      billing-server resellers add "Horns and Hooves" --id horns-and-hooves
    """
    reseller_id = id_ or ids.new_id(ids.BILLING_ACCOUNT)
    context.ask(lambda storage: storage.add_reseller(reseller_id, name, context.clock(), by))
    show({"id": reseller_id, "name": name}, f"added reseller {reseller_id}", as_json=as_json)


@resellers.command("list")
@json_option
@admin_context
def list_(context: AdminContext, as_json: bool) -> None:
    """List all resellers, oldest first.

    JSON has contact details and return origins too.

    \b
    Example:
      billing-server resellers list --json
    """
    found = context.ask(lambda storage: storage.list_resellers())
    show_all(
        [
            {
                "id": each.id,
                "name": each.name,
                "state": each.state.value,
                "contact": each.contact or "",
                "created_at": rfc3339(each.created_at),
                **(_details(each) if as_json else {}),
            }
            for each in found
        ],
        as_json=as_json,
    )


def _details(reseller: Reseller) -> dict[str, str]:
    """Returns what would make the table too wide."""
    details = {f"contact_{name}": text for name, text in reseller.details._asdict().items()}
    return details | {"return_origins": " ".join(reseller.return_origins)}


@resellers.command()
@click.argument("reseller_id")
@click.argument("address", callback=_check_address)
@by_option
@admin_context
def contact(context: AdminContext, reseller_id: str, address: str, by: str) -> None:
    """Set a reseller's address for invitees' questions.

    "" takes it away. It stands in e-mails and on pages, and answers to the e-mails go there.

    \b
    Example:
      billing-server resellers contact horns-and-hooves sales@horns.example
    """
    context.ask(
        lambda storage: storage.set_reseller_contact(reseller_id, address, context.clock(), by)
    )
    click.echo(f"set the contact of reseller {reseller_id}")


def _check_detail(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if not value:
        return value
    value = value.strip()
    if not is_visible(value) or unfit(value) or len(value) > _LONGEST_DETAIL:
        raise AdminError(f"--{parameter.name} is 1 to {_LONGEST_DETAIL} printable characters")
    return value


@resellers.command("contact-details")
@click.argument("reseller_id")
@click.option("--name", callback=_check_detail, help="Whom to ask.")
@click.option("--address", callback=_check_detail, help="Where they are.")
@click.option("--phone", callback=_check_detail, help="How to call them.")
@by_option
@admin_context
def contact_details(
    context: AdminContext,
    reseller_id: str,
    name: str | None,
    address: str | None,
    phone: str | None,
    by: str,
) -> None:
    """Set a reseller's contact person and telephone.

    Whom invitees can ask, where and by which telephone; "" takes one away, what is not given stays.
    They stand in e-mails and on pages, beside the address of `resellers contact`.

    \b
    Example:
      billing-server resellers contact-details horns-and-hooves \\
        --name "Ostap Bender" --address "Chernomorsk, 1 Sea Street" --phone "+7 495 123-45-67"
    """
    given = {"name": name, "address": address, "phone": phone}
    details = {key: value for key, value in given.items() if value is not None}
    if not details:
        raise AdminError("name at least one of --name, --address and --phone")
    context.ask(
        lambda storage: storage.set_reseller_details(reseller_id, details, context.clock(), by)
    )
    click.echo(f"set the contact details of reseller {reseller_id}")


def _check_origin(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return parse_origin(value)
    except ValueError as error:
        raise AdminError(f"an origin {error}") from None


@resellers.command("add-return-origin")
@click.argument("reseller_id")
@click.argument("origin", callback=_check_origin)
@by_option
@admin_context
def add_origin(context: AdminContext, reseller_id: str, origin: str, by: str) -> None:
    """Let a reseller's pages lead back to ORIGIN.

    An invitation may then have a returnUri there, which its page offers after the answer.

    \b
    Example:
      billing-server resellers add-return-origin horns-and-hooves https://shop.horns.example
    """
    changed = context.ask(
        lambda storage: storage.change_return_origins(
            reseller_id, origin, context.clock(), by, add=True
        )
    )
    click.echo(f"added {origin}" if changed else "it is on the list already")


@resellers.command("remove-return-origin")
@click.argument("reseller_id")
@click.argument("origin", callback=_check_origin)
@by_option
@admin_context
def remove_origin(context: AdminContext, reseller_id: str, origin: str, by: str) -> None:
    """Let a reseller's pages lead to ORIGIN no longer.

    Those of earlier invitations neither.

    \b
    Example:
      billing-server resellers remove-return-origin horns-and-hooves https://shop.horns.example
    """
    changed = context.ask(
        lambda storage: storage.change_return_origins(
            reseller_id, origin, context.clock(), by, add=False
        )
    )
    click.echo(f"removed {origin}" if changed else "it is not on the list")


@resellers.command()
@click.argument("reseller_id")
@by_option
@admin_context
def suspend(context: AdminContext, reseller_id: str, by: str) -> None:
    """Suspend a reseller.

    At once its calls are refused and its e-mails held. Its customers stay as they are. Links to its
    pending invitations say that they can't be answered now. Nothing is lost, but time goes on: what
    lapses meanwhile has lapsed.

    \b
    Example:
      billing-server resellers suspend horns-and-hooves
    """
    changed = context.ask(
        lambda storage: storage.suspend_reseller(reseller_id, context.clock(), by)
    )
    click.echo(f"suspended reseller {reseller_id}" if changed else "it is suspended already")


@resellers.command()
@click.argument("reseller_id")
@by_option
@admin_context
def resume(context: AdminContext, reseller_id: str, by: str) -> None:
    """Resume a suspended reseller.

    Its calls, e-mails and invitations go on.

    \b
    Example:
      billing-server resellers resume horns-and-hooves
    """
    changed = context.ask(lambda storage: storage.resume_reseller(reseller_id, context.clock(), by))
    click.echo(f"resumed reseller {reseller_id}" if changed else "it is not suspended")


@resellers.command()
@click.argument("reseller_id")
@by_option
@admin_context
def remove(context: AdminContext, reseller_id: str, by: str) -> None:
    """Remove a reseller.

    All roles for it end at once, and its e-mails and invitations are held. What it has invited
    stays recorded. Adding it again with its ID brings it back, without roles, and what was held
    goes on.

    \b
    Example:
      billing-server resellers remove horns-and-hooves
    """
    if not context.ask(lambda storage: storage.remove_reseller(reseller_id, context.clock(), by)):
        raise AdminError(f"there is no reseller {reseller_id}; see `resellers list`")
    click.echo(f"removed reseller {reseller_id}")
