"""The plugin: pytest reads it in every run, so it imports nothing that is not asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .reseller import Billing
    from .sandbox import BillingService


@pytest.fixture(scope="session")
def billing_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BillingService]:
    """The whole service, on free ports and in a folder of its own, until the tests are over.

    With pytest-xdist each process has one.
    """
    from .sandbox import started

    with started(tmp_path_factory.mktemp("billing")) as service:
        yield service


@pytest.fixture
def billing(billing_service: BillingService) -> Billing:
    """A reseller that no other test sees."""
    from .reseller import new_reseller

    return new_reseller(billing_service)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to the report of a test that failed what the service's log says of its reseller."""
    report = yield
    found = getattr(item, "funcargs", {}).get("billing")
    if report.failed and found is not None and hasattr(found, "log"):
        report.sections.append(("Log of the billing service", "\n".join(found.log())))
    return report
