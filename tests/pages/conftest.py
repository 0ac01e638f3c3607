"""A browser for the tests of pages."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import browser
from tests.pages.visitor import Visitor, visit


@pytest_asyncio.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


@pytest_asyncio.fixture
async def visitor(chromium: Browser) -> AsyncIterator[Visitor]:
    arrived = await visit(chromium)
    yield arrived
    # A page for a link that holds no longer comes with an HTTP error, which the console tells.
    assert [text for text in arrived.complaints if "status of 4" not in text] == []
