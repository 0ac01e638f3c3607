"""Who may call what `make run` starts: made at random on the first run, kept in var/keys."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from files.private import make_private_folder, replace_private
from server.config import Settings
from server.domain import ids
from server.domain.access import Role, hash_token
from server.identity.account_keys import new_account_key
from server.main import now, opened_storage

_BY = "make run"
_CONTACT = "reseller@example.com"


@dataclass(frozen=True)
class Development:
    """One service account, which owns one reseller, and its token."""

    subject_id: str
    reseller_id: str
    token: str


async def development_identity(settings: Settings) -> tuple[Development, Path]:
    """Returns who may call, and the service account's key file for SDKs."""
    folder = settings.var / "keys"
    make_private_folder(folder, with_contents=True)
    file = folder / "dev.json"
    if file.exists():
        who = Development(**json.loads(file.read_text()))
    else:
        who = Development(
            subject_id=ids.new_id(ids.SERVICE_ACCOUNT),
            reseller_id=ids.new_id(ids.BILLING_ACCOUNT),
            token="",
        )
    key_file = folder / "dev-service-account.json"
    async with opened_storage(settings) as storage:
        await storage.administration.add_reseller(
            who.reseller_id, "Development reseller", now(), _BY
        )
        if not any(each.contact for each in await storage.administration.list_resellers()):
            await storage.administration.set_reseller_contact(who.reseller_id, _CONTACT, now(), _BY)
        await storage.administration.add_service_account(who.subject_id, "Development", now(), _BY)
        await storage.administration.grant_role(
            who.subject_id, who.reseller_id, Role.OWNER, now(), _BY
        )
        if not await storage.access.get_subject(hash_token(who.token), now()):
            # None yet, or one that was revoked: it stays so, and another takes its place.
            who = replace(who, token=secrets.token_urlsafe(32))
            replace_private(file, json.dumps(asdict(who)).encode())
            await storage.administration.add_access_token(
                hash_token(who.token), who.subject_id, now(), None
            )
        if not await storage.access.get_account_key(_key_id(key_file)):
            key, content = new_account_key(who.subject_id, now())
            await storage.administration.add_account_key(key, _BY)
            replace_private(key_file, (json.dumps(content, indent=2) + "\n").encode())
    return who, key_file


def _key_id(file: Path) -> str:
    return str(json.loads(file.read_text())["id"]) if file.exists() else ""
