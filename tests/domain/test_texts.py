"""What is plain needs no closer look: it may stand in a text, and there is something to see."""

import pytest

from server.domain.texts import is_plain, is_visible, unfit


@pytest.mark.parametrize("number", range(0x180))
def test_plain_texts_are_visible_and_fit(number: int) -> None:
    for text in (chr(number), f" {chr(number)}", f"a{chr(number)}"):
        if is_plain(text):
            assert is_visible(text)
            assert unfit(text) is None
    assert is_plain(f"a{chr(number)}") == (" " <= chr(number) <= "~")


@pytest.mark.parametrize("blank", ["", " ", "   "])
def test_what_is_blank_is_not_plain(blank: str) -> None:
    assert not is_plain(blank)
