"""`iam-keys` and `audit`: the keys that sign tokens, and who changed what."""

import click

from server.admin.context import (
    AdminError,
    Services,
    by_option,
    json_option,
    rfc3339,
    services,
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
@services
def rotate(where: Services, drop_old: bool, by: str, as_json: bool) -> None:
    """Make a new key that signs from now on.

    Older keys verify until the last token they signed has expired, and are removed at a rotation
    after that. Servers that run notice by themselves.

    \b
    Examples:
      python -m server iam-keys rotate
      python -m server iam-keys rotate --drop-old --by "on call, ticket 17"
    """
    ring = where.ring()

    async def work(storage: Administration) -> str:
        key = ring.rotate(drop_old=drop_old)
        details = "all others dropped" if drop_old else ""
        await storage.add_audit_record(
            AuditRecord(where.clock(), by, "iam-keys.rotate", key.id, details)
        )
        return key.id

    try:
        key_id = where.ask(work)
    except KeyRingError as error:
        raise AdminError(f"BILLING_KEYS: {error}") from None
    show({"id": key_id}, f"{key_id} signs from now on", as_json=as_json)


@iam_keys.command("list")
@json_option
@services
def list_keys(where: Services, as_json: bool) -> None:
    """List the keys, oldest first; the last one signs.

    \b
    Example:
      python -m server iam-keys list
    """
    show_all(
        [
            {
                "id": key.id,
                "created_at": rfc3339(key.made_at),
                "verifies_until": rfc3339(key.ends_at) if key.ends_at else "",
            }
            for key in where.ring().all()
        ],
        as_json=as_json,
    )


@click.group()
def audit() -> None:
    """See who changed what, and when."""


@audit.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many."
)
@json_option
@services
def list_records(where: Services, limit: int, as_json: bool) -> None:
    """List the latest changes, newest first.

    \b
    Example:
      python -m server audit list --limit 20
    """
    found = where.ask(lambda storage: storage.list_audit_records(limit))
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
