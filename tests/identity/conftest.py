from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.config import Settings
from tests.identity.served import Served, serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        var=tmp_path / "var",
        rate_limit=0,
        iam_endpoints="billing.example:443, api.cloud.yandex.net",
    )


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[Served]:
    async with serving(settings) as started:
        yield started
