"""Texts that strangers chose, made safe to stand in our sentences: on pages and in e-mails.

Rows may hold anything, whatever the input allows by now.
"""

import re
import unicodedata

from server.domain.texts import is_noncharacter, is_visible

# No more of a text is looked at, which bounds the time that it takes.
_MOST_READ = 4096
# Embeddings, overrides and isolates of text direction: they would reach past the name.
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
_JOINER = "\u200d"
# More marks on one letter than any script has would be drawn over the lines above and below.
_MOST_MARKS = 6

# What mail programs make links of: schemes, domains, addresses, network folders. They stop at a
# space, also at one that nobody sees.
_LINKS = re.compile(r"(?<=\S)([.。．｡](?=[^\W_])|[@＠](?=\S))|:(?=//)|(?<=:)/(?=/)|(?<=\\)(?=\\)")
_GAP = "\u200b"

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
NOTHING = "—"


def clean(text: str, longest: int) -> str:
    """Returns the text on one line, in at most `longest` characters, without what acts outside it."""
    is_cut = len(text) > _MOST_READ
    text = " ".join(text[:_MOST_READ].split())
    if not text.isprintable():
        text = _DIRECTION.sub("", text)
        text = "".join(c for c in text if not _is_dropped(c)).strip()
    if not text.isascii():
        text = _with_few_marks(text)
    return _shortened(text, longest, is_cut) if is_visible(text) else NOTHING


def shown(name: str, longest: int) -> str:
    """Returns a name as it is shown: clean, and nothing in it that becomes a link by itself.

    `longest` does not count the gaps that nobody sees.
    """
    return _LINKS.sub(lambda link: f"{_GAP}{link[0]}{_GAP}", clean(name, longest))


def shown_lines(text: str, longest: int) -> list[str]:
    """Returns the lines of a text, each as `shown`; empty ones stand alone, and between others."""
    lines: list[str] = []
    for line in text[:_MOST_READ].split("\n"):
        if is_visible(line):
            lines.append(shown(line, longest))
        elif lines and lines[-1]:
            lines.append("")
    return lines[:-1] if lines and not lines[-1] else lines


def isolated(text: str) -> str:
    """Returns the text so that it leaves the order of what is around it alone, in plain text."""
    if text.isascii() or not any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text):
        return text
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"


def _is_dropped(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or is_noncharacter(letter)


def _with_few_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") else 0
        if marks <= _MOST_MARKS:
            kept.append(c)
    return "".join(kept)


def _shortened(text: str, longest: int, is_cut: bool) -> str:
    """Returns the text cut to `longest` characters, not within one that a reader sees."""
    if len(text) <= longest and not is_cut:
        return text
    end = min(longest, len(text)) - 1
    while end > 0 and (
        unicodedata.category(text[end])[0] == "M" or _JOINER in (text[end], text[end - 1])
    ):
        end -= 1
    return f"{text[: end if end > 0 else longest - 1].rstrip()}…"
