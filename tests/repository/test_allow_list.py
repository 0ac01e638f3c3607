"""The rule for imports that lists all that is allowed."""

import grimp
import pytest

from tests.repository.allow_list import AllowListContract


def found(imported: str, allowed: list[str]) -> list[str]:
    """Returns what the rule says of `shop.domain.books` importing a module."""
    graph = grimp.ImportGraph()
    for module in ("shop", "shop.domain", "shop.domain.books", "shop.files"):
        graph.add_module(module)
    if imported not in graph.modules:
        graph.add_module(imported, is_squashed=True)
    graph.add_import(importer="shop.domain.books", imported=imported)
    options = {"source_modules": ["shop.domain"], "allowed_modules": allowed}
    check = AllowListContract("a name", {}, options).check(graph, verbose=False)
    assert check.kept is not bool(check.metadata["found"])
    return list(check.metadata["found"])


@pytest.mark.parametrize(
    ("imported", "allowed"),
    [("asyncio", []), ("shop.domain", []), ("shop.files", ["shop.files"]), ("grpc", ["grpc"])],
)
def test_imports_on_the_list_pass(imported: str, allowed: list[str]) -> None:
    assert found(imported, allowed) == []


@pytest.mark.parametrize("imported", ["shop.files", "grpc", "a_library_nobody_thought_of"])
def test_imports_beside_the_list_are_named(imported: str) -> None:
    assert found(imported, ["shop.file"]) == [f"shop.domain.books imports {imported}"]
