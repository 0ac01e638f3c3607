"""Whose e-mails and pages these are."""

import re
from dataclasses import dataclass

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Brand:
    """`colour` is `#rrggbb`, for what white text stands on; `support` an address for questions.

    Raises ValueError.
    """

    name: str = "Billing"
    colour: str = "#1d4f91"
    support: str | None = None

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(self.colour):
            raise ValueError("the brand's colour must be like #1d4f91")
