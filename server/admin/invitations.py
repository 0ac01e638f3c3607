"""`invitations`: what became of one, for who helps a customer on the telephone."""

from datetime import UTC, datetime

import click
from email_validator import EmailNotValidError, validate_email

from server.admin.context import (
    AdminContext,
    AdminError,
    admin_context,
    by_option,
    json_option,
    rfc3339,
    show_all,
)
from server.domain.invitations import InvitationState, as_of
from server.domain.suppressions import SuppressionReason
from server.storage.interface import Found, FoundInvitation

_SUPPRESSED = {
    SuppressionReason.BOUNCED: "nothing is sent to this address: an e-mail to it came back for good",
    SuppressionReason.REQUESTED: "nothing is sent to this address: its owner asked for that",
}


@click.group()
def invitations() -> None:
    """See what became of invitations."""


@invitations.command()
@click.argument("what", metavar="ADDRESS|ID")
@by_option
@json_option
@admin_context
def find(context: AdminContext, what: str, by: str, as_json: bool) -> None:
    """Find invitations by an address or an ID.

    ID is that of an invitation, a customer, a billing account or an operation. Whichever reseller's
    they are, newest first: the state, how the e-mail stands and why, and until when the link holds.
    The look-up is recorded in the audit, without the address.

    \b
    Examples:
      billing-server invitations find someone@example.com --by "Ann, ticket 17"
      billing-server invitations find inv3f8k2l0q9d7s1a6h4 --json
    """
    now = context.clock()
    if "@" in what:
        email = _address(what)
        found = context.look(lambda storage: storage.find_by_address(email, now, by))
    else:
        found = context.look(lambda storage: storage.find_by_id(what, now, by))
    show_all(
        [
            _shown(each._replace(invitation=as_of(each.invitation, now)), found)
            for each in found.invitations
        ],
        as_json=as_json,
    )
    if found.suppressed:
        click.echo(f"{_SUPPRESSED[found.suppressed]}; see `suppressions release`", err=True)


def _address(text: str) -> str:
    try:
        checked = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise AdminError("that is no e-mail address") from None
    return checked.normalized


def _shown(one: FoundInvitation, found: Found) -> dict[str, str]:
    invitation, delivery = one.invitation, one.invitation.delivery
    state = invitation.state.name
    if one.held and invitation.state is InvitationState.PENDING:
        state += ", held with its reseller"
    error = delivery.last_error if delivery else None
    mail = (delivery.state.name if delivery.state else "not sent") if delivery else "not sent"
    return {
        "invitation": invitation.id,
        "customer": invitation.customer_id,
        "name": one.customer_name,
        "address": invitation.email,
        "reseller": invitation.reseller_id,
        "state": state,
        "mail": mail,
        "sent": _time(delivery.sent_at if delivery else None),
        "error": error.message if error else "",
        "expires": _time(invitation.expires_at),
        "suppressed": found.suppressed.name if found.suppressed else "",
    }


def _time(at: datetime | None) -> str:
    return rfc3339(at.astimezone(UTC).replace(microsecond=0)) if at else ""
