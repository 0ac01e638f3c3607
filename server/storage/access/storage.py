"""The part of the storage that knows who may do what."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

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
from server.storage.access import bindings, changes, identity, queries, tokens
from server.storage.access.binding_lists import BindingPage, list_bindings
from server.storage.access.bindings import BindingUpdate, RoleChange, update_bindings
from server.storage.access.changes import KeyChange, NamedRecord
from server.storage.access.tokens import AccessToken
from server.storage.interface.access import SYSTEM
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Listed
from server.storage.keys import KeyLifetime
from server.storage.notify.notifier import Notifier
from server.storage.sql.batches import Batcher
from server.storage.sql.times import micros
from server.storage.suppressions import OperatorsRelease, release_address
from server.storage.work.mail_hold import HoldChange, change_hold


class SqlAccess:
    """Implements `interface.AccessStorage`."""

    def __init__(
        self, writes: Batcher, reads: Batcher, notifier: Notifier, keys: KeyLifetime
    ) -> None:
        self._writes = writes
        self._reads = reads
        self._notifier = notifier
        self._keys = keys

    async def get_subject(self, token_hash: bytes, now: datetime) -> Subject | None:
        return await self._reads.submit(
            identity.token_holders, identity.TokenUse(token_hash, micros(now))
        )

    async def get_proven_subject(self, proof: VerifiedToken) -> Subject | None:
        return await self._reads.submit(identity.proven, proof)

    async def get_account_key(self, key_id: str) -> AccountKey | None:
        return await self._reads.submit(identity.get_keys, key_id)

    async def revoke_token(self, proof: VerifiedToken) -> None:
        await self._writes.submit(tokens.revoke, proof)

    async def end_access_token(self, token_hash: bytes, now: datetime) -> str | None:
        ended = tokens.EndedToken(token_hash, micros(now))
        return await self._writes.submit(tokens.end_token, ended)

    async def list_bindings(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[AccessBinding]]:
        return await self._reads.submit(list_bindings, BindingPage(reseller_id, limit, after))

    async def update_bindings(
        self,
        operation: Operation,
        deltas: Sequence[RoleDelta],
        actor: Actor,
        key: IdempotencyKey | None,
    ) -> Operation:
        use = self._keys.keyed(key, operation.created_at)
        update = BindingUpdate(operation, deltas, actor, use)
        return await self._writes.submit(update_bindings, update)

    def on_access_change(self, changed: Callable[[], None]) -> None:
        self._notifier.on_access_change.append(changed)


class SqlAdministration:
    """Implements `interface.Administration`."""

    def __init__(self, writes: Batcher, reads: Batcher) -> None:
        self._writes = writes
        self._reads = reads

    async def add_reseller(
        self, reseller_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        reseller = NamedRecord(reseller_id, name, micros(now), by)
        await self._writes.submit(changes.put_reseller, reseller)

    async def remove_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = NamedRecord(reseller_id, "", micros(now), by)
        return await self._writes.submit(changes.remove_reseller, reseller)

    async def set_reseller_contact(
        self, reseller_id: str, contact: str, now: datetime, by: str = SYSTEM
    ) -> None:
        change = NamedRecord(reseller_id, contact, micros(now), by)
        await self._writes.submit(changes.set_contact, change)

    async def set_reseller_details(
        self, reseller_id: str, details: Mapping[str, str], now: datetime, by: str = SYSTEM
    ) -> None:
        change = changes.DetailsChange(reseller_id, details, micros(now), by)
        await self._writes.submit(changes.set_details, change)

    async def change_return_origins(
        self, reseller_id: str, origin: str, now: datetime, by: str = SYSTEM, *, add: bool
    ) -> bool:
        change = changes.OriginChange(reseller_id, origin, add, micros(now), by)
        return await self._writes.submit(changes.change_origins, change)

    async def suspend_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = NamedRecord(reseller_id, "", micros(now), by)
        return await self._writes.submit(changes.suspend_reseller, reseller)

    async def resume_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = NamedRecord(reseller_id, "", micros(now), by)
        return await self._writes.submit(changes.resume_reseller, reseller)

    async def list_resellers(self) -> Sequence[Reseller]:
        return await self._reads.submit(queries.list_resellers, None)

    async def hold_mail(self, now: datetime, by: str = SYSTEM) -> bool:
        return await self._writes.submit(change_hold, HoldChange(True, now, by))

    async def resume_mail(self, now: datetime, by: str = SYSTEM) -> bool:
        return await self._writes.submit(change_hold, HoldChange(False, now, by))

    async def release_address(self, email: str, now: datetime, by: str = SYSTEM) -> bool:
        return await self._writes.submit(release_address, OperatorsRelease(email, now, by))

    async def add_service_account(
        self, account_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        account = NamedRecord(account_id, name, micros(now), by)
        await self._writes.submit(changes.put_account, account)

    async def remove_service_account(
        self, account_id: str, now: datetime, by: str = SYSTEM
    ) -> bool:
        account = NamedRecord(account_id, "", micros(now), by)
        return await self._writes.submit(changes.remove_account, account)

    async def list_service_accounts(self) -> Sequence[ServiceAccount]:
        return await self._reads.submit(queries.list_accounts, None)

    async def add_account_key(self, key: AccountKey, by: str = SYSTEM) -> None:
        await self._writes.submit(changes.add_key, KeyChange(key, by))

    async def remove_account_key(self, key_id: str, now: datetime, by: str = SYSTEM) -> bool:
        key = NamedRecord(key_id, "", micros(now), by)
        return await self._writes.submit(changes.remove_key, key)

    async def list_account_keys(self, account_id: str | None = None) -> Sequence[AccountKey]:
        return await self._reads.submit(queries.list_keys, account_id)

    async def grant_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        binding = RoleChange(subject_id, reseller_id, role, micros(now), by)
        return await self._writes.submit(bindings.grant_role, binding)

    async def revoke_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        binding = RoleChange(subject_id, reseller_id, role, micros(now), by)
        return await self._writes.submit(bindings.revoke_role, binding)

    async def list_roles(
        self, subject_id: str | None = None, reseller_id: str | None = None
    ) -> Sequence[RoleBinding]:
        return await self._reads.submit(
            queries.list_roles, queries.RoleFilter(subject_id, reseller_id)
        )

    async def add_access_token(
        self, token_hash: bytes, subject_id: str, now: datetime, expires_at: datetime | None
    ) -> None:
        until = micros(expires_at) if expires_at else None
        token = AccessToken(token_hash, subject_id, micros(now), until)
        await self._writes.submit(tokens.put_token, token)

    async def add_audit_record(self, record: AuditRecord) -> None:
        await self._writes.submit(changes.record, record)

    async def list_audit_records(self, limit: int) -> Sequence[AuditRecord]:
        return await self._reads.submit(queries.list_audit_records, limit)
