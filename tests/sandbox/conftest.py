"""The wheel that the tests of this folder run."""

from pathlib import Path

import pytest

from tests.wheel import built_wheel


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, to be put on Python's path."""
    return built_wheel(tmp_path_factory.mktemp("wheel"))
