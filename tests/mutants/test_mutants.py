"""The lists fit the code: each old text is there once, each new one is a program, each test exists."""

import ast
from collections import Counter

import pytest

from tests.mutants.mutants import AREAS, ROOT, ListError, Mutant, mutants

ALL = mutants()


@pytest.mark.parametrize("mutant", ALL, ids=str)
def test_it_applies_exactly_once(mutant: Mutant) -> None:
    changed = mutant.text(ROOT)
    assert changed != (ROOT / mutant.path).read_text()
    if mutant.path.endswith(".py"):
        ast.parse(changed)
    assert mutant.tests
    for test in mutant.tests:
        path, *names = test.split("::")
        assert (ROOT / path).exists(), test
        for name in names:
            assert name.partition("[")[0] in (ROOT / path).read_text(), test


def test_names_of_mutants_are_unique() -> None:
    assert [name for name, count in Counter(map(str, ALL)).items() if count > 1] == []
    assert {mutant.area for mutant in ALL} == set(AREAS)


def test_an_old_text_that_is_gone_is_an_error() -> None:
    gone = ALL[0]
    for old in ("no such text anywhere", "\n"):
        with pytest.raises(ListError, match="not once"):
            Mutant(gone.area, gone.path, "gone", old, "", gone.tests).text(ROOT)
    with pytest.raises(ListError, match="no file"):
        Mutant(gone.area, "server/none.py", "gone", "a", "", gone.tests).text(ROOT)
