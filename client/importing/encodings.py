"""Which encoding a text file has."""

import codecs
from collections.abc import Iterator
from pathlib import Path

import charset_normalizer

from client.errors import USAGE, ClientError

_CHUNK = 1 << 16
# Bytes of lines with letters beyond ASCII; so many tell which encoding it is.
_SAMPLE = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets write beside Unicode: of Windows, of DOS, of old Unix.
_OF_ONE_BYTE = ["cp1251", "cp1252", "cp866", "koi8_r"]
_NAMES = {
    "utf-8-sig": "UTF-8 with a byte order mark",
    "utf-8": "UTF-8",
    "cp1251": "Windows-1251",
    "cp1252": "Windows-1252",
}


def detect(file: Path) -> str:
    """Returns the encoding of a file, by Python's name; raises ClientError where it can't be told."""
    with file.open("rb") as content:
        start = content.read(4096)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        # Without a mark: delimiters, digits and addresses have a zero beside each letter.
        first, second = start[::2].count(0), start[1::2].count(0)
        if max(first, second) > len(start) // 20:
            return "utf-16-le" if second > first else "utf-16-be"
        content.seek(0)
        sample = _not_utf8(iter(lambda: content.read(_CHUNK), b""))
    if sample is None:
        return "utf-8"
    best = charset_normalizer.from_bytes(sample, cp_isolation=_OF_ONE_BYTE).best()
    if best is None:
        raise ClientError(
            f"{file}: which encoding it has can't be told: say it, as --encoding windows-1251",
            USAGE,
        )
    return best.encoding


def display_name(encoding: str) -> str:
    """Returns an encoding's name as people know it."""
    return _NAMES.get(encoding, encoding.upper().replace("_", "-"))


def python_name(encoding: str) -> str:
    """Returns Python's name of an encoding that a user has named; raises ClientError."""
    try:
        # Some of Python's are no encodings of texts.
        " ".encode(encoding.strip())
        return codecs.lookup(encoding.strip()).name
    except (LookupError, UnicodeError):
        raise ClientError(
            f"--encoding: {encoding!r} is not known; use utf-8, utf-16, windows-1251 or another of "
            "Python's names",
            USAGE,
        ) from None


def _not_utf8(chunks: Iterator[bytes]) -> bytes | None:
    """Returns lines with letters beyond ASCII of a text that is no UTF-8; None for one that is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    sample = bytearray()
    rest = b""
    for chunk in chunks:
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        if len(sample) < _SAMPLE:
            *lines, rest = (rest + chunk).split(b"\n")
            sample += b"\n".join(line for line in lines if not line.isascii())[:_SAMPLE]
            rest = rest[-_SAMPLE:]
        elif not is_utf8:
            break
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        is_utf8 = False
    return None if is_utf8 else bytes(sample + rest)
