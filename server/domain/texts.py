"""What may stand in a text: nothing that is invisible, or that reorders what is read."""

import re
import unicodedata

# Letters, marks and symbols that show nothing: Hangul fillers, the empty Braille cell, joiners of
# graphemes, selectors of variants, …
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\ufffc\uffa0\U0001d159"
    "\U000e0100-\U000e01ef]"
)
# Format characters that are seen: signs that Arabic, Syriac and Kaithi put under or over numbers.
_SEEN = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
# Not assigned, and invisible by Unicode's own default.
_IGNORED = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")

# Scripts whose letters join, or don't, by U+200C and U+200D: from Arabic to Tibetan and Myanmar,
# Khmer and Mongolian, the other Indic scripts, Arabic's presentation forms, and theirs beyond.
_JOINING = (
    "[\u0620-\u085f\u0860-\u109f\u1780-\u18af\u1900-\u1cff\ua840-\ua8ff\ua930-\uaaff\uabc0-\uabff"
    "\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010aff\U00010d00-\U00011fff\U0001e900-\U0001e95f]"
)
# Scripts without spaces, whose words end at U+200B: Thai, Lao, Tibetan, Myanmar, Khmer, Tai.
_UNSPACED = "[\u0e00-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf]"
_EMOJI = "[\u00a9\u00ae\u203c-\u3299\ufe0f\U0001f000-\U0001faff]"
# A format character where its script needs it; each stands behind what it needs.
_NEEDED = re.compile(
    f"(?<={_JOINING})[\u200c\u200d]|(?<={_EMOJI})\u200d(?={_EMOJI})"
    f"|(?<={_UNSPACED})\u200b(?={_UNSPACED})|(?<=[\u1820-\u18aa])\u180e(?=[\u1820-\u18aa])"
    # The flags of England, Scotland and Wales.
    "|(?<=\U0001f3f4)\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)"
    "\U000e007f"
)


def unfit(text: str) -> str | None:
    """Returns what is wrong with a text, naming the first code point that may not stand in it.

    Refused are controls and line breaks; format characters (direction marks, embeddings and
    overrides, zero-width spaces, soft hyphens), but for those that a script needs where it needs
    them: ZWNJ and ZWJ in Arabic, Indic and like scripts, ZWJ and tags in emoji; private use,
    surrogates and noncharacters.
    """
    if text.isprintable():
        return None
    if not text.isascii():
        text = _NEEDED.sub("", text)
    for letter in text:
        kind = None if letter.isprintable() else _refused(letter)
        if kind:
            return f"Must not hold {kind} (found U+{ord(letter):04X})."
    return None


def is_plain(text: str) -> bool:
    """Tells whether a text is ASCII that can be seen: it is visible then, and not `unfit`."""
    return text.isascii() and text.isprintable() and text.strip() != ""


def is_visible(text: str) -> bool:
    """Tells whether there is anything to see: a letter, digit or sign that is not blank."""
    if text.isascii():
        return bool(text.strip())
    return any(
        unicodedata.category(letter) not in _UNSEEN and not _BLANK.match(letter) for letter in text
    )


def printable(text: str) -> str:
    """Returns a text for a message, with question marks for what may not stand in one."""
    return "".join(c if unicodedata.category(c)[0] != "C" else "?" for c in text)


def is_noncharacter(letter: str) -> bool:
    """Tells whether Unicode keeps the code point out of texts for good; HTML can't name it."""
    return ord(letter) & 0xFFFE == 0xFFFE or "\ufdd0" <= letter <= "\ufdef"


def _refused(letter: str) -> str | None:
    match unicodedata.category(letter):
        case "Cc" | "Zl" | "Zp":
            return "control characters"
        case "Cf":
            return None if letter in _SEEN else "invisible format characters"
        case "Co":
            return "private-use characters"
        case "Cs":
            return "halves of surrogate pairs"
        case "Cn" if is_noncharacter(letter):
            return "noncharacters"
        case "Cn" if _IGNORED.match(letter):
            return "invisible format characters"
    return None  # spaces, and what is newer than this Python's Unicode
