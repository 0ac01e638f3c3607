"""What is written on a brand's colour, and in it, can be read on any."""

import pytest

from server.domain.brands import Brand, contrast

PARTS = ("00", "33", "66", "80", "99", "cc", "ff")
COLOURS = [f"#{red}{green}{blue}" for red in PARTS for green in PARTS for blue in PARTS]


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        *(("#ffff00", "#000000"), ("#FFD400", "#000000"), ("#ffffff", "#000000")),
        *(("#1d4f91", "#ffffff"), ("#000000", "#ffffff"), ("#d00000", "#ffffff")),
    ],
)
def test_text_is_black_or_white(colour: str, text: str) -> None:
    assert Brand(colour=colour).text_colour == text


def test_all_colours_can_be_read() -> None:
    for colour in COLOURS:
        brand = Brand(colour=colour)
        assert contrast(brand.text_colour, colour) >= 4.5
        assert contrast(brand.link_colour, "#ffffff") >= 4.5


def test_links_are_in_the_colour_where_that_can_be_read() -> None:
    assert Brand(colour="#1d4f91").link_colour == "#1d4f91"
    assert Brand(colour="#ffd400").link_colour != "#ffd400"


def test_contrast_is_as_wcag_defines_it() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
