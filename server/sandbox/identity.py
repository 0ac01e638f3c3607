"""Makes who may call what `billing-server dev` starts, at random on the first run; kept in var/keys."""

import json
import secrets
from dataclasses import asdict, replace
from pathlib import Path

from files.private import make_private_folder, replace_private
from server.clock import now
from server.domain import ids
from server.domain.access import Role, hash_token
from server.identity.account_keys import new_account_key
from server.sandbox.development import (
    Development,
    account_key_file,
    identity_file,
    read_identity,
)
from server.storage.interface import Storage

_BY = "make run"
_CONTACT = "reseller@example.com"


async def make_identity(storage: Storage, var: Path) -> Development:
    """Returns who may call; what is missing of it is made, also what has been revoked."""
    make_private_folder(var / "keys", with_contents=True)
    who = read_identity(var) or Development(
        subject_id=ids.new_id(ids.SERVICE_ACCOUNT),
        reseller_id=ids.new_id(ids.BILLING_ACCOUNT),
        token="",
    )
    administration = storage.administration
    holder = await storage.access.get_subject(hash_token(who.token), now())
    if holder is None or Role.OWNER not in holder.roles.get(who.reseller_id, ()):
        # None yet, or it was revoked, or its role was: it stays so, and another takes its place.
        await storage.access.end_access_token(hash_token(who.token), now())
        who = replace(who, token="")
    await administration.add_reseller(who.reseller_id, "Development reseller", now(), _BY)
    if not any(each.contact for each in await administration.list_resellers()):
        await administration.set_reseller_contact(who.reseller_id, _CONTACT, now(), _BY)
    await administration.add_service_account(who.subject_id, "Development", now(), _BY)
    await administration.grant_role(who.subject_id, who.reseller_id, Role.OWNER, now(), _BY)
    if not who.token:
        who = replace(who, token=secrets.token_urlsafe(32))
        replace_private(identity_file(var), json.dumps(asdict(who)).encode())
        await administration.add_access_token(hash_token(who.token), who.subject_id, now(), None)
    key_file = account_key_file(var)
    if not await storage.access.get_account_key(_key_id(key_file)):
        key, content = new_account_key(who.subject_id, now())
        await administration.add_account_key(key, _BY)
        replace_private(key_file, (json.dumps(content, indent=2) + "\n").encode())
    return who


def _key_id(file: Path) -> str:
    return str(json.loads(file.read_text())["id"]) if file.exists() else ""
