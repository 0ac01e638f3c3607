"""What the API and the administration ask of the storage about who may do what.

One method is one transaction. Every method may raise BillingError as `interface` tells. `by` is who
asked for a change; it is recorded with the change, and so is the process's user.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from server.domain.access import (
    AccountKey,
    Actor,
    AuditRecord,
    Reseller,
    Role,
    RoleBinding,
    ServiceAccount,
    Subject,
    VerifiedToken,
)
from server.domain.operations import Operation
from server.domain.role_changes import AccessBinding, RoleDelta
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed

# Who asks for changes that no person asked for.
SYSTEM = "system"


class AccessStorage(Protocol):
    """Tells who is calling and who may do what, and changes that for callers."""

    async def get_subject(self, token_hash: bytes, now: datetime) -> Subject | None:
        """Returns who holds the access token with this SHA-256, with all its roles, or None."""
        ...

    async def get_proven_subject(self, proof: VerifiedToken) -> Subject | None:
        """Returns the subject of a proof with all its roles.

        None: the token was revoked, the account or the key it was got with removed, or an outside
        issuer speaks of one of our accounts.
        """
        ...

    async def get_account_key(self, key_id: str) -> AccountKey | None:
        """Returns a service account's key, or None."""
        ...

    async def revoke_token(self, proof: VerifiedToken) -> None:
        """Makes a signed token useless; nothing if it is so already."""
        ...

    async def end_access_token(self, token_hash: bytes, now: datetime) -> str | None:
        """Makes an access token useless; returns whose it is, or None if there is no such token."""
        ...

    async def list_bindings(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[AccessBinding]]:
        """Returns at most `limit` roles for the reseller, newest first, past the cursor."""
        ...

    async def update_bindings(
        self,
        operation: Operation,
        deltas: Sequence[RoleDelta],
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Operation:
        """Gives and takes roles for the operation's reseller, all or none, and records it and key.

        Returns the operation: the new one or, for a key seen before, the one that it stands for.
        Raises what `role_changes.decide` does for the actor's rights at that moment,
        RESELLER_SUSPENDED, RESELLER_REMOVED, IDEMPOTENCY_KEY_REUSED.
        """
        ...

    def on_access_change(self, changed: Callable[[], None]) -> None:
        """Has `changed` called in the event loop when any answer of the methods above may be another.

        For changes in this process it is called before they are acknowledged; for others soon after
        as a rule, but a signal may be lost.
        """
        ...


class Administration(Protocol):
    """Changes who may do what."""

    async def add_reseller(
        self, reseller_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        """Adds a reseller, or renames it.

        One that was removed is there again, without roles; its e-mails go out unless it is suspended.
        """
        ...

    async def remove_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        """Removes it: as if suspended for good, and its roles count no more.

        Its customers and operations stay. False: no such reseller.
        """
        ...

    async def set_reseller_contact(
        self, reseller_id: str, contact: str, now: datetime, by: str = SYSTEM
    ) -> None:
        """Sets the address where those whom it invites can ask; "" for none.

        Raises NOT_FOUND for an unknown reseller.
        """
        ...

    async def set_reseller_details(
        self, reseller_id: str, details: Mapping[str, str], now: datetime, by: str = SYSTEM
    ) -> None:
        """Sets those of the ContactDetails that are named, "" for none, and leaves the others.

        Raises NOT_FOUND for an unknown reseller.
        """
        ...

    async def change_return_origins(
        self, reseller_id: str, origin: str, now: datetime, by: str = SYSTEM, *, add: bool
    ) -> bool:
        """Adds an origin, in normal form, to those that its pages may lead back to, or takes it away.

        False: it is as wanted already. Raises NOT_FOUND for an unknown reseller.
        """
        ...

    async def suspend_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        """Holds it: no e-mail of it goes out, no invitation can be answered, its calls are refused.

        Time goes on for what is held: what lapses meanwhile has lapsed.
        False: it is suspended already. Raises NOT_FOUND for an unknown or removed one.
        """
        ...

    async def resume_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        """Has all go on that was held. False: it is not suspended. Raises NOT_FOUND likewise."""
        ...

    async def list_resellers(self) -> Sequence[Reseller]:
        """Returns all that are not removed, oldest first."""
        ...

    async def hold_mail(self, now: datetime, by: str = SYSTEM) -> bool:
        """Has no e-mail of invitations sent that is not on its way already. False: it is so."""
        ...

    async def resume_mail(self, now: datetime, by: str = SYSTEM) -> bool:
        """Has those go out that waited. False: they are not held."""
        ...

    async def release_address(self, email: str, now: datetime, by: str = SYSTEM) -> bool:
        """Has an address get e-mails again, also one whose owner asked for none. False: it does."""
        ...

    async def add_service_account(
        self, account_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        """Adds a service account, or renames it.

        Raises FIELDS_INVALID for the ID of an outside issuer's subject that has roles.
        """
        ...

    async def remove_service_account(
        self, account_id: str, now: datetime, by: str = SYSTEM
    ) -> bool:
        """Removes it with its keys, roles and tokens. False: no such account."""
        ...

    async def list_service_accounts(self) -> Sequence[ServiceAccount]:
        """Returns all, oldest first."""
        ...

    async def add_account_key(self, key: AccountKey, by: str = SYSTEM) -> None:
        """Adds a key; raises NOT_FOUND for an unknown service account."""
        ...

    async def remove_account_key(self, key_id: str, now: datetime, by: str = SYSTEM) -> bool:
        """Removes a key, and with it the tokens that were got with it. False: no such key."""
        ...

    async def list_account_keys(self, account_id: str | None = None) -> Sequence[AccountKey]:
        """Returns the keys of one account or of all, oldest first."""
        ...

    async def grant_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        """Gives a role; False: held already. Raises NOT_FOUND for an unknown reseller."""
        ...

    async def revoke_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        """Takes a role. False: not held."""
        ...

    async def list_roles(
        self, subject_id: str | None = None, reseller_id: str | None = None
    ) -> Sequence[RoleBinding]:
        """Returns the roles of one subject, for one reseller, or all, oldest first."""
        ...

    async def add_access_token(
        self, token_hash: bytes, subject_id: str, now: datetime, expires_at: datetime | None
    ) -> None:
        """Makes the token with this SHA-256 prove the subject's identity."""
        ...

    async def add_audit_record(self, record: AuditRecord) -> None:
        """Records a change that was made outside the database."""
        ...

    async def list_audit_records(self, limit: int) -> Sequence[AuditRecord]:
        """Returns the latest changes, newest first."""
        ...
