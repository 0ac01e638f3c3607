"""`billing customers`."""

from collections.abc import Callable
from typing import Any

import click
from billing.v1 import customer_pb2, customer_service_pb2, customer_service_pb2_grpc, invitation_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from client.commands.operations import finish
from client.context import (
    Context,
    F,
    filter_option,
    key_option,
    limit_option,
    output_option,
    with_context,
)
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


def _pairs(option: str, given: tuple[str, ...], names: tuple[str, ...] = ()) -> dict[str, str]:
    """Returns what was given as NAME=VALUE; with `names`, only these are taken."""
    pairs = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name or (names and name not in names):
            known = f"; the names are {', '.join(names)}" if names else ""
            raise click.BadParameter(f"{each!r}: say it as NAME=VALUE{known}", param_hint=option)
        pairs[name] = value
    return pairs


def _details(command: F) -> F:
    """Adds the options for what is kept of a customer beside its name and address."""
    for option in (
        click.option(
            "--label", "labels", multiple=True, metavar="NAME=VALUE", help="A tag of your own."
        ),
        click.option("--external-id", help="What you call the customer in your own books."),
        click.option(
            "--person",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Legal information, such as tin=7707083893; the names are {', '.join(_PERSON)}.",
        ),
    ):
        command = option(command)
    return command


def _customer(
    name: str, person: tuple[str, ...], external_id: str | None, labels: tuple[str, ...]
) -> customer_pb2.Customer:
    return customer_pb2.Customer(
        display_name=name,
        person=customer_pb2.Person(**_pairs("--person", person, _PERSON)),
        external_id=external_id or "",
        labels=_pairs("--label", labels),
    )


@click.group()
def customers() -> None:
    """Invite customers, see them, change them."""


@customers.command("invite")
@click.option("--name", required=True, help="The customer's name.")
@click.option("--email", required=True, help="The address that the invitation goes to.")
@_details
@click.option("--language", default="", help="Of e-mail and page: en or ru; default both.")
@click.option("--inviter", default="", help="Who invites, as e-mail and page show it.")
@click.option("--note", default="", help="What that person writes to the customer.")
@click.option(
    "--no-email",
    is_flag=True,
    help="Send none: hand the link over yourself, see `billing invitations link`.",
)
@click.option("--wait", is_flag=True, help="Wait until the e-mail has gone out.")
@key_option
@output_option
@with_context
def invite_customer(
    context: Context,
    name: str,
    email: str,
    person: tuple[str, ...],
    external_id: str | None,
    labels: tuple[str, ...],
    language: str,
    inviter: str,
    note: str,
    no_email: bool,
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
    customer = _customer(name, person, external_id, labels)
    customer.email = email
    methods = invitation_pb2.Invitation
    request = customer_service_pb2.InviteCustomerRequest(
        parent=connection.reseller,
        customer=customer,
        language_code=language,
        inviter_display_name=inviter,
        note=note,
        delivery_method=methods.LINK if no_email else methods.EMAIL,
    )
    operation = connection.call(_stub(context).InviteCustomer, request, key=key)
    finish(connection, operation, output, wait=wait)


@customers.command("create")
@click.option("--name", required=True, help="The customer's name.")
@_details
@key_option
@output_option
@with_context
def create_customer(
    context: Context,
    name: str,
    person: tuple[str, ...],
    external_id: str | None,
    labels: tuple[str, ...],
    key: str,
    output: Output,
) -> None:
    """Create a customer that you serve yourself.

    It is active at once, and gets no e-mail.

    \b
    Example:
      billing customers create --name "Horns and Hooves" --external-id K-17
    """
    connection = context.connection
    request = customer_service_pb2.CreateCustomerRequest(
        parent=connection.reseller,
        customer=_customer(name, person, external_id, labels),
    )
    output.one(connection.call(_stub(context).CreateCustomer, request, key=key), COLUMNS)


@customers.command("list")
@filter_option("'state = ACTIVE' or 'labels.tier = gold'")
@click.option(
    "--order-by", default="", help="create_time for the oldest first; default the newest."
)
@click.option("--show-deleted", is_flag=True, help="Those that can be undeleted too.")
@limit_option
@output_option
@with_context
def list_customers(
    context: Context,
    criteria: str,
    order_by: str,
    show_deleted: bool,
    limit: int | None,
    output: Output,
) -> None:
    """List customers, newest first.

    \b
    Examples:
      billing customers list --output csv > customers.csv
      billing customers list --filter 'state = ACTIVE AND labels.tier = gold'
    """
    connection = context.connection
    request = customer_service_pb2.ListCustomersRequest(
        parent=connection.reseller,
        filter=criteria,
        order_by=order_by,
        show_deleted=show_deleted,
    )
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


@customers.command("update")
@click.argument("customer")
@click.option("--name", help="The customer's name.")
@_details
@output_option
@with_context
def update_customer(
    context: Context,
    customer: str,
    name: str | None,
    person: tuple[str, ...],
    external_id: str | None,
    labels: tuple[str, ...],
    output: Output,
) -> None:
    """Change a customer.

    What is not given stays, and an empty value takes away.

    \b
    Examples:
      billing customers update CUSTOMER --name "Horns and Hooves" --person phone="+7 495 123-45-67"
      billing customers update CUSTOMER --label tier=gold --label region=
    """
    changed = _customer(name or "", person, external_id, labels)
    paths = [f"person.{each}" for each in _pairs("--person", person)]
    paths += [f"labels.{each}" for each in changed.labels]
    paths += ["display_name"] if name is not None else []
    paths += ["external_id"] if external_id is not None else []
    if not paths:
        raise click.UsageError("say what to change")
    # A label that is taken away is named, and has no value.
    for label in [label for label, value in changed.labels.items() if not value]:
        del changed.labels[label]
    changed.name = context.connection.name("customers", customer)
    request = customer_service_pb2.UpdateCustomerRequest(
        customer=changed, update_mask=FieldMask(paths=paths)
    )
    output.one(context.connection.call(_stub(context).UpdateCustomer, request), COLUMNS)


def _action(name: str, method: str, request: Callable[..., Any], description: str) -> None:
    """Adds a command that does one thing to a customer, and shows it as it then is."""

    def act(context: Context, customer: str, key: str, output: Output) -> None:
        connection = context.connection
        named = request(name=connection.name("customers", customer))
        output.one(connection.call(getattr(_stub(context), method), named, key=key), COLUMNS)

    act.__doc__ = f"{description}\n\n\b\nExample:\n  billing customers {name} CUSTOMER"
    command = click.argument("customer")(key_option(output_option(with_context(act))))
    customers.command(name)(command)


_action(
    "suspend",
    "SuspendCustomer",
    customer_service_pb2.SuspendCustomerRequest,
    "Suspend an active customer.",
)
_action(
    "activate",
    "ActivateCustomer",
    customer_service_pb2.ActivateCustomerRequest,
    "Make a suspended customer active again.",
)
_action(
    "delete",
    "DeleteCustomer",
    customer_service_pb2.DeleteCustomerRequest,
    "Delete a customer; its open invitation is taken back. It can be undeleted for 30 days.",
)
_action(
    "undelete",
    "UndeleteCustomer",
    customer_service_pb2.UndeleteCustomerRequest,
    "Take the deletion of a customer back.",
)
