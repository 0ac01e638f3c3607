"""`suppressions`: addresses that nothing is sent to."""

import click
from email_validator import EmailNotValidError, validate_email

from server.admin.context import AdminContext, AdminError, admin_context, by_option


@click.group()
def suppressions() -> None:
    """Release addresses that nothing is sent to."""


@suppressions.command()
@click.argument("address")
@by_option
@admin_context
def release(context: AdminContext, address: str, by: str) -> None:
    """Release an address: e-mails go there again.

    For one whose e-mails came back for good, or whose owner asked for no more: only on the owner's
    word. Resellers release what came back for them by themselves.

    \b
    Example:
      billing-server suppressions release someone@example.com --by "on call, ticket 17"
    """
    try:
        email = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise AdminError("that is no e-mail address") from None
    released = context.ask(
        lambda storage: storage.release_address(email.normalized, context.clock(), by)
    )
    click.echo("released it" if released else "it gets e-mails already")
