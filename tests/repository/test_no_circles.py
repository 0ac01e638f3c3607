"""The rule that no module imports itself by way of others."""

from itertools import pairwise

import grimp
import pytest

from tests.repository.no_circles import NoCirclesContract


def found(*imports: tuple[str, str]) -> list[str]:
    """Returns the modules that are in circles of these imports."""
    graph = grimp.ImportGraph()
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    check = NoCirclesContract("a name", {}, {}).check(graph, verbose=False)
    assert check.kept is not bool(check.metadata["found"])
    return list(check.metadata["found"])


def test_imports_in_one_direction_pass() -> None:
    # Also of two folders that import one another's modules.
    assert found(("a.x", "b.x"), ("b.y", "a.x"), ("c", "a.x"), ("c", "b.y")) == []


@pytest.mark.parametrize("between", [[], ["c"], ["c", "d"]])
def test_modules_that_import_one_another_are_named(between: list[str]) -> None:
    circle = ["a", *between, "b", "a"]
    others = [("main", "a"), ("b", "library")]
    assert found(*pairwise(circle), *others) == sorted(set(circle))
