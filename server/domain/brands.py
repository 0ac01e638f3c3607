"""Whose e-mails and pages these are."""

import re
from dataclasses import dataclass

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE, _BLACK = "#ffffff", "#000000"
# WCAG 2.2, success criterion 1.4.3.
_READABLE = 4.5
# What links are in where the brand's colour is too light for white paper.
_INK = "#1b1f24"


@dataclass(frozen=True, slots=True)
class Brand:
    """`colour` is any `#rrggbb`; `support` an address for questions.

    Raises ValueError.
    """

    name: str = "Billing"
    colour: str = "#1d4f91"
    support: str | None = None

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(self.colour):
            raise ValueError("the brand's colour must be like #1d4f91")

    @property
    def text_colour(self) -> str:
        """What is written in on the colour: white or black, one of which is always readable."""
        return max(_WHITE, _BLACK, key=lambda text: contrast(text, self.colour))

    @property
    def link_colour(self) -> str:
        """What links are in on white: the colour if it can be read there."""
        return self.colour if contrast(self.colour, _WHITE) >= _READABLE else _INK


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours, 1 to 21, as WCAG defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
