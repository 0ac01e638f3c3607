"""`billing invitations`: what became of them, and what can be done."""

import click
from billing.v1 import invitation_pb2, invitation_service_pb2, invitation_service_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask

from client.commands.operations import finish
from client.context import (
    Context,
    filter_option,
    key_option,
    limit_option,
    output_option,
    with_context,
)
from client.output import Output

COLUMNS = {
    "INVITATION": "name",
    "STATE": "state",
    "E-MAIL": "email",
    "DELIVERY": "delivery.state",
    "CREATED": "createTime",
    "EXPIRES": "expireTime",
}


def _stub(context: Context) -> invitation_service_pb2_grpc.InvitationServiceStub:
    return invitation_service_pb2_grpc.InvitationServiceStub(context.connection.channel)


@click.group()
def invitations() -> None:
    """See invitations, send them again, take them back."""


@invitations.command("list")
@filter_option("'state = PENDING' or 'delivery.state = BOUNCED'")
@limit_option
@output_option
@with_context
def list_invitations(context: Context, criteria: str, limit: int | None, output: Output) -> None:
    """List invitations, newest first.

    \b
    Example:
      billing invitations list --filter 'delivery.state = BOUNCED' --output csv
    """
    connection = context.connection
    request = invitation_service_pb2.ListInvitationsRequest(
        parent=connection.reseller, filter=criteria
    )
    pages = connection.pages(_stub(context).ListInvitations, request, "invitations", limit)
    output.many(pages, COLUMNS)


@invitations.command("get")
@click.argument("invitation")
@output_option
@with_context
def get_invitation(context: Context, invitation: str, output: Output) -> None:
    """Show an invitation, and how its e-mail stands.

    \b
    Example:
      billing invitations get INVITATION
    """
    name = context.connection.name("invitations", invitation)
    request = invitation_service_pb2.GetInvitationRequest(name=name)
    output.one(context.connection.call(_stub(context).GetInvitation, request), COLUMNS)


@invitations.command("resend")
@click.argument("invitation")
@click.option("--wait", is_flag=True, help="Wait until the e-mail has gone out.")
@key_option
@output_option
@with_context
def resend_invitation(
    context: Context, invitation: str, wait: bool, key: str, output: Output
) -> None:
    """Send an invitation again, with a new link.

    \b
    Example:
      billing invitations resend INVITATION --wait
    """
    name = context.connection.name("invitations", invitation)
    request = invitation_service_pb2.ResendInvitationRequest(name=name)
    operation = context.connection.call(_stub(context).ResendInvitation, request, key=key)
    finish(context.connection, operation, output, wait=wait)


@invitations.command("correct")
@click.argument("invitation")
@click.option("--email", required=True, help="The right address.")
@key_option
@output_option
@with_context
def correct_invitation(
    context: Context, invitation: str, email: str, key: str, output: Output
) -> None:
    """Correct an invitation's address, and send it there.

    The e-mail has a new link; those of before lead nowhere any more.

    \b
    Example:
      billing invitations correct INVITATION --email ostap@example.com
    """
    request = invitation_service_pb2.UpdateInvitationRequest(
        invitation=invitation_pb2.Invitation(
            name=context.connection.name("invitations", invitation), email=email
        ),
        update_mask=FieldMask(paths=["email"]),
    )
    output.one(context.connection.call(_stub(context).UpdateInvitation, request, key=key), COLUMNS)


@invitations.command("revoke")
@click.argument("invitation")
@key_option
@output_option
@with_context
def revoke_invitation(context: Context, invitation: str, key: str, output: Output) -> None:
    """Take an invitation back: its link leads nowhere any more.

    \b
    Example:
      billing invitations revoke INVITATION
    """
    name = context.connection.name("invitations", invitation)
    request = invitation_service_pb2.RevokeInvitationRequest(name=name)
    output.one(context.connection.call(_stub(context).RevokeInvitation, request, key=key), COLUMNS)


@invitations.command("link")
@click.argument("invitation")
@output_option
@with_context
def create_link(context: Context, invitation: str, output: Output) -> None:
    """Make a link to an open invitation, to hand over yourself.

    This answer alone shows it.

    \b
    Example:
      billing invitations link INVITATION
    """
    name = context.connection.name("invitations", invitation)
    request = invitation_service_pb2.CreateInvitationLinkRequest(name=name)
    answer = context.connection.call(_stub(context).CreateInvitationLink, request)
    output.one(answer, {"LINK": "uri", "EXPIRES": "expireTime"})
