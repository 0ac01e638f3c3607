"""Telephone numbers: whatever Google's library knows, in the spellings that people use."""

import functools
import re
import unicodedata

import phonenumbers

# Numbers written without a country are read as the published service would.
_DEFAULT_REGION = "RU"
LONGEST = 64

_PLAIN = re.compile(r"\+[1-9][0-9]{7,14}")
# Spelt by `_plain_letters`. The library would find a number in any text; here the text is one.
_SPELLING = re.compile(
    r"(?:(?:tel|тел)[.:]*/{0,2} *)?"
    r"(?P<number>[(\[]*\+? ?[(\[]*[0-9][0-9 ()\[\]./-]*"
    r"(?P<word>[a-z][a-z0-9 .-]*)??)"
    r"(?:[ ,;(]*(?:ext(?:ensi[oó]n|n)?|x|#|доб(?:авочный)?|,)[.:=]* *(?P<extension>[0-9]{1,9})#?\)?)?"
    r"(?P<context>;phone-context=\+[0-9]{1,5})?",
    re.IGNORECASE,
)
_DASHES = "-\u2212\u2053\u30fc\uff0d~"
# A word stands for the end of a number, as in 1-800-FLOWERS.
_DIGITS_BEFORE_WORD, _LETTERS_OF_WORD = 3, 3


def is_phone(text: str) -> bool:
    """Tells whether a text is a telephone number or a phoneword."""
    return is_plain(text) or _parse(text) is not None


def is_plain(text: str) -> bool:
    """Tells whether a text is a number in E.164, without asking the library for more than lengths."""
    plain = _PLAIN.fullmatch(text)
    return plain is not None and _is_possible_length(text[1:4], len(text) - 1)


def to_e164(text: str) -> str:
    """Returns a number in E.164, `+74951234567`, with its extension, if any: `+74951234567;ext=12`.

    What is none, as an earlier release may have kept it, comes back as it is.
    """
    if is_plain(text):
        return text
    number = _parse(text)
    if number is None:
        return text
    written = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return f"{written};ext={number.extension}" if number.extension else written


def _parse(text: str) -> phonenumbers.PhoneNumber | None:
    spelt = None if len(text) > LONGEST else _SPELLING.fullmatch(_plain_letters(text).strip())
    if spelt is None:
        return None
    number, word = spelt["number"], spelt["word"]
    if word and (
        sum(map(str.isdigit, number[: -len(word)])) < _DIGITS_BEFORE_WORD
        or sum(map(str.isalpha, word)) < _LETTERS_OF_WORD
    ):
        return None
    rest = f";ext={spelt['extension']}" if spelt["extension"] else ""
    rest += spelt["context"] or ""
    domestic = _read(number + rest)
    if domestic and phonenumbers.is_possible_number(domestic):
        return domestic
    # As it is dialled elsewhere (00 49 …), or as it stands in E.164 but for the sign (1-800-…).
    international = _read("+" + number.lstrip("([").removeprefix("00") + rest)
    return international if international and phonenumbers.is_valid_number(international) else None


def _read(text: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, _DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        return None


def _plain_letters(text: str) -> str:
    """Returns the text with plain digits, letters, dashes and spaces in place of their like."""
    return "".join(map(_plain_letter, text))


def _plain_letter(letter: str) -> str:
    if letter.isascii() and letter != "~":
        return letter
    category = unicodedata.category(letter)
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Zs":
        return " "
    if category == "Pd" or letter in _DASHES:
        return "-"
    return unicodedata.normalize("NFKC", letter)


@functools.lru_cache(maxsize=8192)
def _is_possible_length(first_three: str, digits: int) -> bool:
    """Tells whether a number of so many digits, calling code and all, can begin so."""
    for size in (1, 2, 3):
        code = int(first_three[:size])
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code)
        if regions:
            facts = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
            described = facts.general_desc if facts else None
            return described is not None and digits - size in described.possible_length
    return False
