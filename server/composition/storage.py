"""Opens the storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from files.private import close_to_others
from server.config import Settings
from server.database_commands import database_errors
from server.storage import open_storage
from server.storage.interface import Storage


@asynccontextmanager
async def opened_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Opens the storage and closes it at the end; raises SettingsError where it can't be used."""
    close_to_others(settings.var)
    with database_errors():
        storage = await open_storage(
            settings.database,
            idempotency_lifetime=settings.idempotency_lifetime,
            limits=settings.limits,
            pooled=settings.database_pooled,
            listen_url=settings.database_direct_url,
        )
    try:
        yield storage
    finally:
        await storage.close()
