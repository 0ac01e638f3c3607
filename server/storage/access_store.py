"""The part of the storage that knows who may do what."""

from collections.abc import Callable, Sequence
from datetime import datetime

from server.domain.access import (
    AccountKey,
    AuditRecord,
    Proof,
    Reseller,
    Role,
    RoleBinding,
    ServiceAccount,
    Subject,
)
from server.storage import access, access_lists, administration, tokens
from server.storage.access_interface import SYSTEM
from server.storage.administration import Binding, KeyChange, Named
from server.storage.batches import Batcher
from server.storage.rows import microseconds
from server.storage.signals import Signals
from server.storage.tokens import AccessToken


class SqlAccess:
    """Implements both protocols of `server.storage.access_interface`."""

    _reads: Batcher
    _writes: Batcher
    _signals: Signals

    async def get_subject(self, token_hash: bytes, now: datetime) -> Subject | None:
        return await self._reads.submit(access.token_holders, (token_hash, microseconds(now)))

    async def get_proven_subject(self, proof: Proof) -> Subject | None:
        return await self._reads.submit(access.proven, proof)

    async def get_account_key(self, key_id: str) -> AccountKey | None:
        return await self._reads.submit(access.get_keys, key_id)

    async def revoke_token(self, proof: Proof) -> None:
        await self._writes.submit(tokens.revoke, proof)

    async def end_access_token(self, token_hash: bytes, now: datetime) -> str | None:
        ended = token_hash, microseconds(now)
        return await self._writes.submit(tokens.end_token, ended)

    def on_access_change(self, changed: Callable[[], None]) -> None:
        self._signals.on_access_change.append(changed)

    async def add_reseller(
        self, reseller_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        reseller = Named(reseller_id, name, microseconds(now), by)
        await self._writes.submit(administration.put_reseller, reseller)

    async def remove_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = Named(reseller_id, "", microseconds(now), by)
        return await self._writes.submit(administration.remove_reseller, reseller)

    async def set_reseller_contact(
        self, reseller_id: str, contact: str, now: datetime, by: str = SYSTEM
    ) -> None:
        change = Named(reseller_id, contact, microseconds(now), by)
        await self._writes.submit(administration.set_contact, change)

    async def suspend_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = Named(reseller_id, "", microseconds(now), by)
        return await self._writes.submit(administration.suspend_reseller, reseller)

    async def resume_reseller(self, reseller_id: str, now: datetime, by: str = SYSTEM) -> bool:
        reseller = Named(reseller_id, "", microseconds(now), by)
        return await self._writes.submit(administration.resume_reseller, reseller)

    async def list_resellers(self) -> Sequence[Reseller]:
        return await self._reads.submit(access_lists.resellers, None)

    async def add_service_account(
        self, account_id: str, name: str, now: datetime, by: str = SYSTEM
    ) -> None:
        account = Named(account_id, name, microseconds(now), by)
        await self._writes.submit(administration.put_account, account)

    async def remove_service_account(
        self, account_id: str, now: datetime, by: str = SYSTEM
    ) -> bool:
        account = Named(account_id, "", microseconds(now), by)
        return await self._writes.submit(administration.remove_account, account)

    async def list_service_accounts(self) -> Sequence[ServiceAccount]:
        return await self._reads.submit(access_lists.accounts, None)

    async def add_account_key(self, key: AccountKey, by: str = SYSTEM) -> None:
        await self._writes.submit(administration.add_key, KeyChange(key, by))

    async def remove_account_key(self, key_id: str, now: datetime, by: str = SYSTEM) -> bool:
        key = Named(key_id, "", microseconds(now), by)
        return await self._writes.submit(administration.remove_key, key)

    async def list_account_keys(self, account_id: str | None = None) -> Sequence[AccountKey]:
        return await self._reads.submit(access_lists.keys, account_id)

    async def grant_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        binding = Binding(subject_id, reseller_id, role, microseconds(now), by)
        return await self._writes.submit(administration.grant_role, binding)

    async def revoke_role(
        self, subject_id: str, reseller_id: str, role: Role, now: datetime, by: str = SYSTEM
    ) -> bool:
        binding = Binding(subject_id, reseller_id, role, microseconds(now), by)
        return await self._writes.submit(administration.revoke_role, binding)

    async def list_roles(
        self, subject_id: str | None = None, reseller_id: str | None = None
    ) -> Sequence[RoleBinding]:
        return await self._reads.submit(access_lists.roles, (subject_id, reseller_id))

    async def add_access_token(
        self, token_hash: bytes, subject_id: str, now: datetime, expires_at: datetime | None
    ) -> None:
        until = microseconds(expires_at) if expires_at else None
        token = AccessToken(token_hash, subject_id, microseconds(now), until)
        await self._writes.submit(tokens.put_token, token)

    async def add_audit_record(self, record: AuditRecord) -> None:
        await self._writes.submit(administration.record, record)

    async def list_audit_records(self, limit: int) -> Sequence[AuditRecord]:
        return await self._reads.submit(access_lists.audit, limit)
