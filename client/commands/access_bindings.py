"""`billing accounts access-bindings`: who has which role for the reseller."""

import click
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2_grpc as services

from client.context import Context, key_option, limit_option, output_option, with_context
from client.output import Output

COLUMNS = {"ROLE": "roleId", "TYPE": "subject.type", "SUBJECT": "subject.id"}
_OPERATION = {"OPERATION": "id", "DESCRIPTION": "description", "DONE": "done"}
_ROLES = "billing.accounts."
_TYPES = ("serviceAccount", "userAccount")


def _role(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    return given if "." in given else _ROLES + given


def _subject(
    _context: click.Context, _parameter: click.Parameter, given: str
) -> access_pb2.Subject:
    type_, separator, id_ = given.partition(":")
    if not separator or type_ not in _TYPES or not id_:
        raise click.BadParameter(f"write it as {_TYPES[0]}:ID or {_TYPES[1]}:ID")
    return access_pb2.Subject(id=id_, type=type_)


_account_option = click.option(
    "--account", default="", help="The billing account; default the reseller's own."
)
_role_option = click.option(
    "--role",
    required=True,
    callback=_role,
    help="owner, admin, editor, viewer or accountant; or the whole name.",
)
_subject_option = click.option(
    "--subject",
    required=True,
    callback=_subject,
    help="serviceAccount:ID, or userAccount:ID for a subject of the outside issuer.",
)


@click.group("access-bindings")
def access_bindings() -> None:
    """See, give and take roles."""


@access_bindings.command("list")
@_account_option
@limit_option
@output_option
@with_context
def list_bindings(context: Context, account: str, limit: int | None, output: Output) -> None:
    """List who has which role, newest first.

    \b
    Example:
      billing accounts access-bindings list
    """
    connection = context.connection
    stub = services.BillingAccountServiceStub(connection.channel)
    request = access_pb2.ListAccessBindingsRequest(resource_id=account or connection.reseller_id)
    pages = connection.pages(stub.ListAccessBindings, request, "access_bindings", limit)
    output.many(pages, COLUMNS)


@access_bindings.command("add")
@_account_option
@_role_option
@_subject_option
@key_option
@output_option
@with_context
def add_binding(
    context: Context,
    account: str,
    role: str,
    subject: access_pb2.Subject,
    key: str,
    output: Output,
) -> None:
    """Give a role.

    \b
    Example:
      billing accounts access-bindings add --role viewer --subject serviceAccount:ID
    """
    _update(context, account, access_pb2.ADD, role, subject, key, output)


@access_bindings.command("remove")
@_account_option
@_role_option
@_subject_option
@key_option
@output_option
@with_context
def remove_binding(
    context: Context,
    account: str,
    role: str,
    subject: access_pb2.Subject,
    key: str,
    output: Output,
) -> None:
    """Take a role.

    \b
    Example:
      billing accounts access-bindings remove --role viewer --subject serviceAccount:ID
    """
    _update(context, account, access_pb2.REMOVE, role, subject, key, output)


def _update(
    context: Context,
    account: str,
    action: access_pb2.AccessBindingAction.ValueType,
    role: str,
    subject: access_pb2.Subject,
    key: str,
    output: Output,
) -> None:
    connection = context.connection
    stub = services.BillingAccountServiceStub(connection.channel)
    binding = access_pb2.AccessBinding(role_id=role, subject=subject)
    delta = access_pb2.AccessBindingDelta(action=action, access_binding=binding)
    request = access_pb2.UpdateAccessBindingsRequest(
        resource_id=account or connection.reseller_id, access_binding_deltas=[delta]
    )
    output.one(connection.call(stub.UpdateAccessBindings, request, key=key), _OPERATION)
