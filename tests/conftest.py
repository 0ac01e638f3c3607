from collections.abc import Iterator

import pytest

from tests.service import Service, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service, shared by tests that only call it."""
    with running(tmp_path_factory.mktemp("service") / "var") as started:
        yield started
