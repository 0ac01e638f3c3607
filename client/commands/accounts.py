"""`billing accounts`: billing accounts, the reseller's own and its customers'."""

import click
from yandex.cloud.billing.v1 import billing_account_service_pb2 as messages
from yandex.cloud.billing.v1 import billing_account_service_pb2_grpc as services

from client.commands.access_bindings import access_bindings
from client.context import Context, limit_option, output_option, with_context
from client.output import Output

COLUMNS = {
    "ACCOUNT": "id",
    "NAME": "name",
    "ACTIVE": "active",
    "CURRENCY": "currency",
    "BALANCE": "balance",
    "CREATED": "createdAt",
}


@click.group()
def accounts() -> None:
    """See billing accounts, and who has which role for them."""


accounts.add_command(access_bindings)


@accounts.command("list")
@limit_option
@output_option
@with_context
def list_accounts(context: Context, limit: int | None, output: Output) -> None:
    """List all billing accounts that you may see.

    \b
    Example:
      billing accounts list --output csv
    """
    connection = context.connection
    stub = services.BillingAccountServiceStub(connection.channel)
    request = messages.ListBillingAccountsRequest()
    output.many(connection.pages(stub.List, request, "billing_accounts", limit), COLUMNS)


@accounts.command("get")
@click.argument("account")
@output_option
@with_context
def get_account(context: Context, account: str, output: Output) -> None:
    """Show a billing account.

    \b
    Example:
      billing accounts get ACCOUNT
    """
    connection = context.connection
    stub = services.BillingAccountServiceStub(connection.channel)
    output.one(connection.call(stub.Get, messages.GetBillingAccountRequest(id=account)), COLUMNS)
