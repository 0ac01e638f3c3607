"""`billing customers`."""

import click
from billing.v1 import customer_pb2, customer_service_pb2, customer_service_pb2_grpc

from client.commands.operations import finish
from client.context import Context, key_option, limit_option, output_option, with_context
from client.output import Output

COLUMNS = {
    "CUSTOMER": "name",
    "NAME": "displayName",
    "STATE": "state",
    "E-MAIL": "email",
    "ACCOUNT": "billingAccountId",
    "CREATED": "createTime",
}
_PERSON = tuple(field.name for field in customer_pb2.Person.DESCRIPTOR.fields)


def _stub(context: Context) -> customer_service_pb2_grpc.CustomerServiceStub:
    return customer_service_pb2_grpc.CustomerServiceStub(context.connection.channel)


def _person(given: tuple[str, ...]) -> customer_pb2.Person:
    person = customer_pb2.Person()
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name not in _PERSON:
            raise click.BadParameter(
                f"{each!r}: say it as NAME=VALUE; the names are {', '.join(_PERSON)}",
                param_hint="--person",
            )
        setattr(person, name, value)
    return person


@click.group()
def customers() -> None:
    """Invite customers, and see them."""


@customers.command("invite")
@click.option("--name", required=True, help="The customer's name.")
@click.option("--email", required=True, help="The address that the invitation goes to.")
@click.option(
    "--person",
    multiple=True,
    metavar="NAME=VALUE",
    help="Legal information, such as tin=7707083893.",
)
@click.option("--language", default="", help="Of e-mail and page: en or ru; default both.")
@click.option("--inviter", default="", help="Who invites, as e-mail and page show it.")
@click.option("--note", default="", help="What that person writes to the customer.")
@click.option("--wait", is_flag=True, help="Wait until the e-mail has gone out.")
@key_option
@output_option
@with_context
def invite_customer(
    context: Context,
    name: str,
    email: str,
    person: tuple[str, ...],
    language: str,
    inviter: str,
    note: str,
    wait: bool,
    key: str,
    output: Output,
) -> None:
    """Invite a customer by e-mail.

    \b
    Example:
      billing customers invite --name "Horns and Hooves" --email ostap@example.com \\
        --person tin=7707083893 --wait
    """
    connection = context.connection
    request = customer_service_pb2.InviteCustomerRequest(
        parent=connection.reseller,
        customer=customer_pb2.Customer(display_name=name, email=email, person=_person(person)),
        language_code=language,
        inviter_display_name=inviter,
        note=note,
    )
    operation = connection.call(_stub(context).InviteCustomer, request, key=key)
    finish(connection, operation, output, wait=wait)


@customers.command("list")
@limit_option
@output_option
@with_context
def list_customers(context: Context, limit: int | None, output: Output) -> None:
    """List customers, newest first.

    \b
    Example:
      billing customers list --output csv > customers.csv
    """
    connection = context.connection
    request = customer_service_pb2.ListCustomersRequest(parent=connection.reseller)
    output.many(
        connection.pages(_stub(context).ListCustomers, request, "customers", limit), COLUMNS
    )


@customers.command("get")
@click.argument("customer")
@output_option
@with_context
def get_customer(context: Context, customer: str, output: Output) -> None:
    """Show a customer.

    \b
    Example:
      billing customers get CUSTOMER
    """
    name = context.connection.name("customers", customer)
    request = customer_service_pb2.GetCustomerRequest(name=name)
    output.one(context.connection.call(_stub(context).GetCustomer, request), COLUMNS)
