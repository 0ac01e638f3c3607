"""The languages of pages and e-mails: which there are, which one a browser likes, how each writes times."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from babel import negotiate_locale
from babel.dates import format_datetime


class LanguageCode(StrEnum):
    """The languages that there are; each has texts in `rpc/pages` and templates in `worker/mail`."""

    EN = "en"
    RU = "ru"


# Patterns of Unicode's CLDR, for a day and for the year after it.
_DATES: Mapping[LanguageCode, tuple[str, str]] = {
    LanguageCode.EN: ("d MMMM", "y"),
    LanguageCode.RU: ("d MMMM", "y 'года'"),
}
_UTC_NAME = "UTC"

# Of a browser's list; each costs a look.
_MOST_RANGES = 20
# Without blanks around it: two parts that may be blanks, one behind the other, would take seconds to tell apart.
_RANGE = re.compile(
    r"([a-z]{1,8}(?:-[a-z0-9]{1,8}){0,4})(?:\s*;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?"
)


def negotiate(accept_language: str) -> LanguageCode:
    """Returns the language that an Accept-Language header likes best (RFC 9110); else English."""
    listed = accept_language.lower().split(",")[:_MOST_RANGES]
    parsed = (_RANGE.fullmatch(each.strip()) for each in listed)
    ranges = [(found[1], float(found[2] or 1)) for found in parsed if found]
    liked = sorted((each for each in ranges if each[1]), key=lambda each: each[1], reverse=True)
    best = negotiate_locale([range_ for range_, _ in liked], list(LanguageCode), sep="-")
    return LanguageCode(best) if best else LanguageCode.EN


def time_in_words(at: datetime, zone: tzinfo, language: LanguageCode) -> str:
    """Returns `22 December 2026, 18:04 (Europe/Moscow), 15:04 UTC`; UTC's own day where it differs."""
    day, year = _DATES[language]
    local, utc = at.astimezone(zone), at.astimezone(UTC)
    date = format_datetime(local, f"{day} {year}, HH:mm", zone, language)
    if str(zone) == _UTC_NAME:
        return f"{date} {_UTC_NAME}"
    in_utc = "HH:mm" if local.date() == utc.date() else f"{day} HH:mm"
    return f"{date} ({zone}), {format_datetime(utc, in_utc, UTC, language)} {_UTC_NAME}"
