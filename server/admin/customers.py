"""`customers`: erasing who a customer is."""

import sys

import click

from server.admin.context import AdminContext, AdminError, admin_context, by_option


@click.group()
def customers() -> None:
    """Erase who customers are."""


@customers.command()
@click.argument("customer_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Don't ask.")
@by_option
@admin_context
def erase(context: AdminContext, customer_id: str, yes: bool, by: str) -> None:
    """Blank who a customer is, for good: there is no way back.

    Name, person, address, external ID, labels, and what was written to it are blanked in its record, in
    all events of it and so in what webhooks get. An open invitation is revoked; links hold no longer.
    IDs, times, states and what happened stay, and an address that nothing is sent to stays so, as a
    hash. Backups still have what they had: see docs/operators/erasing.md.

    \b
    Example:
      billing-server customers erase bcu3f8k2l0q9d7s1a6h4 --by "privacy, request 12"
    """
    if not yes:
        if not sys.stdin.isatty():
            raise AdminError("erasing can't be undone: give --yes to do it without being asked")
        click.confirm(f"Erase who customer {customer_id} is? This can't be undone.", abort=True)
    erased = context.look(lambda storage: storage.erase_customer(customer_id, context.clock(), by))
    click.echo(f"erased customer {customer_id}" if erased else "it is erased already")
