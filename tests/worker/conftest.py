"""What the worker's tests share."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
import uvloop

from server.storage import migrate, open_storage
from server.storage.interface import Storage
from tests.clock import Clock
from tests.worker.harness import RESELLER_ID, RESELLER_NAME, START
from tests.worker.mail_server import MailServer, serving


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the service runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a new SQLite database with the schema."""
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    return url


@pytest_asyncio.fixture
async def storage(database: str) -> AsyncIterator[Storage]:
    """The real storage, with one reseller."""
    storage = await open_storage(database, idempotency_lifetime=timedelta(days=2))
    await storage.administration.add_reseller(RESELLER_ID, RESELLER_NAME, START)
    yield storage
    await storage.close()


@pytest_asyncio.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    """An SMTP server without TLS that takes everything."""
    async with serving(MailServer()) as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    """The certificate of the authority that `tls` is from."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS, for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
