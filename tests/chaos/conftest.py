from collections.abc import Iterator

import pytest

from tests.chaos.postgres import Postgres
from tests.chaos.process_killer import exposed
from tests.chaos.stack import Stack


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def exposed_service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, Postgres | None]]:
    """A service of two servers and a worker, which each test leaves as it found it."""
    with exposed(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def running(exposed_service: tuple[Stack, Postgres | None]) -> Stack:
    return exposed_service[0]


@pytest.fixture
def database(exposed_service: tuple[Stack, Postgres | None]) -> Postgres | None:
    """PostgreSQL, or None where the service is on SQLite."""
    return exposed_service[1]
