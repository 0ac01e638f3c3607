"""`mail`: holding invitations' e-mails, and what of them waits."""

from datetime import UTC, datetime

import click

from server.admin.context import (
    AdminContext,
    AdminError,
    admin_context,
    by_option,
    json_option,
    rfc3339,
    show_all,
)
from server.domain.mail import deferred
from server.storage.interface import WaitingMail


@click.group()
def mail() -> None:
    """See, hold and retry e-mails; preview one."""


@mail.command()
@by_option
@admin_context
def hold(context: AdminContext, by: str) -> None:
    """Hold the e-mails of all invitations.

    None goes out but those on their way already. Invitations are taken as ever, and time goes on
    for them. For when something is wrong with the e-mails themselves, or with who sends them.

    \b
    Example:
      billing-server mail hold --by "on call, ticket 17"
    """
    changed = context.ask(lambda storage: storage.hold_mail(context.service_clock(), by))
    click.echo("e-mails are held" if changed else "e-mails are held already")


@mail.command()
@by_option
@admin_context
def resume(context: AdminContext, by: str) -> None:
    """Have e-mails that were held go out.

    \b
    Example:
      billing-server mail resume
    """
    changed = context.ask(lambda storage: storage.resume_mail(context.service_clock(), by))
    click.echo("e-mails go out" if changed else "e-mails are not held")


@mail.command()
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many."
)
@by_option
@json_option
@admin_context
def queue(context: AdminContext, limit: int, by: str, as_json: bool) -> None:
    """List e-mails that have not gone out.

    Those tried before come first, then the oldest. With the recipient's domain, how often each was
    tried, when it is next, and what went wrong. The look is recorded in the audit.

    \b
    Example:
      billing-server mail queue --limit 20
    """
    now = context.service_clock()
    found = context.look(lambda storage: storage.list_waiting_mail(limit, now, by))
    show_all([_shown(each, now) for each in found], as_json=as_json)
    _tell_of_hold(context)


def _shown(mail: WaitingMail, now: datetime) -> dict[str, str]:
    error = deferred(mail.deferral).last_error if mail.deferral else None
    reply = (
        " ".join(str(part) for part in (error.smtp_code, error.enhanced_status) if part)
        if error
        else ""
    )
    return {
        "operation": mail.operation_id,
        "invitation": mail.invitation_id,
        "reseller": mail.reseller_id,
        "domain": mail.domain,
        "requested": _time(mail.requested_at),
        "attempts": str(mail.attempts),
        "next": _next(mail, now),
        "error": f"{reply} {error.message}".strip() if error else "",
    }


def _next(mail: WaitingMail, now: datetime) -> str:
    if mail.due_at is None:
        return "held: its reseller is suspended or removed"
    if mail.claimed and mail.due_at > now:
        return "being sent"
    return _time(mail.due_at) if mail.due_at > now else "now"


def _time(at: datetime) -> str:
    return rfc3339(at.astimezone(UTC).replace(microsecond=0))


@mail.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All e-mails that wait for their next try.")
@by_option
@admin_context
def retry(context: AdminContext, ids: tuple[str, ...], all_: bool, by: str) -> None:
    """Try e-mails now that wait for their next try.

    ID is an operation's or an invitation's, as `mail queue` shows them. What is being sent, or has gone
    out, stays as it is, and so does what is held with its reseller.

    \b
    Examples:
      billing-server mail retry bop3f8k2l0q9d7s1a6h4
      billing-server mail retry --all
    """
    if bool(ids) == all_:
        raise AdminError("name operations or invitations, or give --all; see `mail queue`")
    count = context.look(lambda storage: storage.retry_mail(ids, context.service_clock(), by))
    click.echo(f"{count} e-mail{'' if count == 1 else 's'} tried now")
    _tell_of_hold(context)


def _tell_of_hold(context: AdminContext) -> None:
    since = context.backlog().mail_held_since
    if since:
        click.echo(
            f"all e-mails are held since {_time(since)}; `mail resume` has them go out", err=True
        )
