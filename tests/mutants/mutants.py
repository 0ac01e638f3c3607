"""Changes of single lines into bugs that somebody could make, kept in a list for each area.

A list is `<area>.toml` beside this file. Each `[[file]]` has the `path` of a source file, and the
`tests` that must notice; each `[[file.mutant]]` in it:

name: what is wrong then.
old, new: the text, which is in the file exactly once, and what takes its place.
tests: instead of the file's, where others must notice.
on: "postgresql" where only tests on that database are run, since no other could notice.
equivalent: why nothing that is promised changes; such a mutant must not be noticed.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent
AREAS = ("storage", "webhooks", "pipeline", "identity", "worker", "gateway", "client")
_KEYS = {"name", "old", "new", "tests", "on", "equivalent"}


class ListError(Exception):
    """A list does not fit the code; the text says which entry, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change; see above."""

    area: str
    path: str
    name: str
    old: str
    new: str
    tests: tuple[str, ...]
    on: str = ""
    equivalent: str = ""

    def text(self, root: Path) -> str:
        """Returns what the file below a root becomes; raises ListError."""
        file = root / self.path
        if not file.is_file():
            raise ListError(f"{self}: there is no file {self.path}")
        before = file.read_text()
        found = before.count(self.old)
        if found != 1:
            raise ListError(f"{self}: its old text is {found} times in {self.path}, not once")
        return before.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.area}: {self.name}"


def mutants(areas: tuple[str, ...] = AREAS) -> list[Mutant]:
    """Returns all of the areas, in the lists' order; raises ListError."""
    return [mutant for area in areas for mutant in _of_area(area)]


def _of_area(area: str) -> Iterator[Mutant]:
    content = tomllib.loads((LISTS / f"{area}.toml").read_text())
    for file in content["file"]:
        for entry in file["mutant"]:
            yield _mutant(area, file, entry)


def _mutant(area: str, file: dict[str, Any], entry: dict[str, Any]) -> Mutant:
    unknown = entry.keys() - _KEYS
    if unknown:
        raise ListError(f"{area}: {entry['name']}: unknown keys {sorted(unknown)}")
    return Mutant(
        area,
        file["path"],
        entry["name"],
        entry["old"],
        entry["new"],
        tuple(entry.get("tests", file["tests"])),
        entry.get("on", ""),
        entry.get("equivalent", ""),
    )
