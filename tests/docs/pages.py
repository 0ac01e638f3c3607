"""The documentation as its readers see it: the README and the pages in docs/."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.service import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


class Snippet(NamedTuple):
    """A block of code; `page` is the first that shows it."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.language}"


def snippets(*languages: str) -> list[Snippet]:
    """Returns the blocks of code in these languages, of all pages; each text once."""
    found: dict[tuple[str, str], Snippet] = {}
    for page in PAGES:
        for language, text in re.findall(
            r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            if language in languages:
                found.setdefault((language, text), Snippet(page, language, text))
    return list(found.values())


def command_folder(folder: Path) -> Path:
    """Makes a folder for the PATH with the command that the package installs."""
    made = folder / "bin"
    made.mkdir()
    command = made / "billing-server"
    command.write_text(f'#!/bin/sh\nexec {ROOT / ".venv/bin/python"} -m server "$@"\n')
    command.chmod(0o700)
    return made
