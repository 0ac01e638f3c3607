from collections.abc import Iterator

import pytest

from tests.chaos.postgres import Postgres
from tests.chaos.process_killer import exposed
from tests.chaos.stack import Stack

Exposed = tuple[Stack, Postgres | None]


@pytest.fixture(scope="package")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    with exposed("sqlite", tmp_path_factory.mktemp("sqlite")) as running:
        yield running


@pytest.fixture(scope="package")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    with exposed("postgresql", tmp_path_factory.mktemp("postgresql")) as running:
        yield running


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def exposed_service(request: pytest.FixtureRequest) -> Exposed:
    """A service of two servers and a worker, which each test leaves as it found it."""
    found: Exposed = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def running(exposed_service: Exposed) -> Stack:
    return exposed_service[0]


@pytest.fixture
def database(exposed_service: Exposed) -> Postgres | None:
    """PostgreSQL, or None where the service is on SQLite."""
    return exposed_service[1]
