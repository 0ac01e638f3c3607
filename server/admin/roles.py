"""`roles`: what subjects may do for a reseller."""

import re

import click

from server.admin.context import (
    AdminContext,
    AdminError,
    admin_context,
    by_option,
    json_option,
    printable,
    rfc3339,
    show_all,
)
from server.domain.access import Role
from server.storage.interface import Administration

# As tokens of an outside issuer may have them.
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")


def _check_role(_context: click.Context, _parameter: click.Parameter, value: str) -> Role:
    try:
        return Role(value)
    except ValueError:
        raise AdminError(f"there is no role {value}; see `roles --help`") from None


def _check_subject(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _SUBJECT.fullmatch(value):
        raise AdminError("a subject's ID is 1 to 255 printable ASCII characters without blanks")
    return value


_subject_argument = click.argument("subject_id", callback=_check_subject)
_role_argument = click.argument("role", callback=_check_role)
_reseller_argument = click.argument("reseller_id")


@click.group()
def roles() -> None:
    """Grant, list and revoke roles.

    \b
    Role                        may
    billing.accounts.owner      all: invite, create, activate, suspend, cancel and so on, and give
                                roles by the API
    billing.accounts.admin      the same, but not the role of owners
    billing.accounts.editor     all but give roles
    billing.accounts.viewer     read: customers and invitations with names and addresses,
                                operations
    billing.accounts.accountant the same
    """


@roles.command()
@_subject_argument
@_role_argument
@_reseller_argument
@by_option
@admin_context
def grant(context: AdminContext, subject_id: str, role: Role, reseller_id: str, by: str) -> None:
    """Give a subject a role for a reseller.

    SUBJECT_ID is a service account's ID, or the `sub` of an outside issuer's tokens.

    \b
    Example:
      billing-server roles grant aje0123456789abcdefg billing.accounts.editor horns-and-hooves
    """

    async def work(storage: Administration) -> tuple[bool, bool]:
        new = await storage.grant_role(subject_id, reseller_id, role, context.clock(), by)
        accounts = await storage.list_service_accounts()
        return new, any(account.id == subject_id for account in accounts)

    new, is_account = context.ask(work)
    to = f"service account {subject_id}" if is_account else subject_id
    click.echo(
        printable(f"{'granted' if new else 'held already:'} {role} for {reseller_id} to {to}")
    )
    if not is_account:
        click.echo(
            f"note: {subject_id} is no service account here; the role is for the outside issuer's "
            "subject of that name",
            err=True,
        )


@roles.command("list")
@click.option("--subject", "subject_id", help="Only this subject's.")
@click.option("--reseller", "reseller_id", help="Only those for this reseller.")
@json_option
@admin_context
def list_(
    context: AdminContext, subject_id: str | None, reseller_id: str | None, as_json: bool
) -> None:
    """List who has which role, oldest first.

    \b
    Example:
      billing-server roles list --reseller horns-and-hooves
    """
    found = context.ask(lambda storage: storage.list_roles(subject_id, reseller_id))
    show_all(
        [
            {
                "subject_id": binding.subject_id,
                "role": binding.role.value,
                "reseller_id": binding.reseller_id,
                "created_at": rfc3339(binding.created_at),
            }
            for binding in found
        ],
        as_json=as_json,
    )


@roles.command()
@_subject_argument
@_role_argument
@_reseller_argument
@by_option
@admin_context
def revoke(context: AdminContext, subject_id: str, role: Role, reseller_id: str, by: str) -> None:
    """Take a role from a subject.

    \b
    Example:
      billing-server roles revoke aje0123456789abcdefg billing.accounts.editor horns-and-hooves
    """
    if not context.ask(
        lambda storage: storage.revoke_role(subject_id, reseller_id, role, context.clock(), by)
    ):
        raise AdminError(f"{subject_id} does not have {role} for {reseller_id}; see `roles list`")
    click.echo(f"revoked {role} for {reseller_id} from {subject_id}")
