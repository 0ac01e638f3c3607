"""`audit`: who changed what, and when."""

import click

from server.admin.context import AdminContext, admin_context, json_option, rfc3339, show_all


@click.group()
def audit() -> None:
    """See who changed what, and when."""


@audit.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many."
)
@json_option
@admin_context
def list_records(context: AdminContext, limit: int, as_json: bool) -> None:
    """List the latest changes, newest first.

    \b
    Example:
      billing-server audit list --limit 20
    """
    found = context.ask(lambda storage: storage.list_audit_records(limit))
    show_all(
        [
            {
                "at": rfc3339(record.at),
                "by": record.actor,
                "os_user": record.os_user,
                "action": record.action,
                "target": record.target,
                "details": record.details,
            }
            for record in found
        ],
        as_json=as_json,
    )
