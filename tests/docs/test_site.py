"""The site that `make docs` makes, and links that it does not see."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tests.service import ROOT

READ_ON_THEIR_OWN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")]


@pytest.mark.parametrize("page", sorted({*PAGES, *READ_ON_THEIR_OWN}), ids=lambda page: page.name)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    files = [target for target in targets if not re.match("[a-z]+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []
