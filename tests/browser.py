"""Debian's Chromium, driven by Playwright, which waits by itself."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright, expect

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# As long as Playwright waits for a click: a busy machine takes more than the usual 5 s for a page.
expect.set_options(timeout=30_000)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Starts a headless Chromium; fails the test, loudly, where there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is missing: run 'make browser', or put 'chromium' on the PATH.")
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=chromium, args=_QUIET)
        try:
            yield started
        finally:
            await started.close()
