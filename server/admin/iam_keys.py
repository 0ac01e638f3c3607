"""`iam-keys`: the keys that sign IAM tokens."""

import click

from server.admin.context import (
    AdminContext,
    AdminError,
    admin_context,
    by_option,
    json_option,
    rfc3339,
    show,
    show_all,
)
from server.domain.access import AuditRecord
from server.identity.key_ring import KeyRingError
from server.storage.interface import Administration


@click.group()
def iam_keys() -> None:
    """Rotate and list the keys that sign IAM tokens."""


@iam_keys.command()
@click.option(
    "--drop-old",
    is_flag=True,
    help="Remove all other keys now: every token signed so far is refused. After a leak.",
)
@by_option
@json_option
@admin_context
def rotate(context: AdminContext, drop_old: bool, by: str, as_json: bool) -> None:
    """Make a new key that signs from now on.

    Older keys verify until the last token they signed has expired, and are removed at a rotation
    after that. Servers that run notice by themselves.

    \b
    Examples:
      billing-server iam-keys rotate
      billing-server iam-keys rotate --drop-old --by "on call, ticket 17"
    """
    ring = context.ring()

    async def work(storage: Administration) -> str:
        key = ring.rotate(drop_old=drop_old)
        details = "all others dropped" if drop_old else ""
        await storage.add_audit_record(
            AuditRecord(context.clock(), by, "iam-keys.rotate", key.id, details)
        )
        return key.id

    try:
        key_id = context.ask(work)
    except KeyRingError as error:
        raise AdminError(f"BILLING_KEYS: {error}") from None
    show({"id": key_id}, f"{key_id} signs from now on", as_json=as_json)


@iam_keys.command("list")
@json_option
@admin_context
def list_keys(context: AdminContext, as_json: bool) -> None:
    """List the keys, oldest first; the last one signs.

    \b
    Example:
      billing-server iam-keys list
    """
    show_all(
        [
            {
                "id": key.id,
                "created_at": rfc3339(key.made_at),
                "verifies_until": rfc3339(key.ends_at) if key.ends_at else "",
            }
            for key in context.ring().all()
        ],
        as_json=as_json,
    )
