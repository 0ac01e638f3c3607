"""Labels: short words that a reseller tags its customers with, as https://google.aip.dev/148 has them."""

import unicodedata
from collections.abc import Iterator, Mapping

from server.domain.errors import FieldViolation
from server.domain.texts import printable

MOST_LABELS = 64
LONGEST_KEY = 63
_MOST_BYTES = 128
_MOST_NAMED = 10


def label_faults(field: str, labels: Mapping[str, str]) -> list[FieldViolation]:
    """Returns what is wrong with labels: too many, or keys and values beyond their limits.

    A key has 1 to 63 characters, a value 63 at most, of 128 bytes in UTF-8 at most: lower-case
    letters of any script, digits, `_` and `-`; a key begins with a letter.
    """
    if len(labels) > MOST_LABELS:
        return [FieldViolation(field, f"Must be {MOST_LABELS} labels at most.")]
    faults = [fault for key, value in sorted(labels.items()) for fault in _faults(key, value)]
    return [FieldViolation(field, fault) for fault in faults[:_MOST_NAMED]]


def key_fault(key: str) -> str | None:
    """Returns why no label can have a key; None: one can."""
    return next(_faults(key, ""), None)


def _faults(key: str, value: str) -> Iterator[str]:
    shown = printable(key if len(key) <= LONGEST_KEY else key[: LONGEST_KEY - 1] + "…")
    if not key:
        yield "A key must not be empty."
    elif wrong := _wrong(key):
        yield f"The key {shown} {wrong}."
    elif not _is_letter(key[0]):
        yield f"The key {shown} must begin with a lower-case letter."
    if value and (wrong := _wrong(value)):
        yield f"The value of {shown} {wrong}."


def _wrong(text: str) -> str | None:
    if len(text) > LONGEST_KEY or len(text.encode()) > _MOST_BYTES:
        return f"must be {LONGEST_KEY} characters and {_MOST_BYTES} bytes long at most"
    if not all(letter in "_-" or letter.isdecimal() or _is_letter(letter) for letter in text):
        return "must have lower-case letters, digits, _ and - alone"
    return None


def _is_letter(letter: str) -> bool:
    """Tells whether it is a letter, or belongs to one, and not a capital."""
    return unicodedata.category(letter) in _LETTERS


_LETTERS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc"})
