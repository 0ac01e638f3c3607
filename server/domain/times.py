"""Times in words, to the minute: in a zone that people live in, with UTC beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

_UTC_NAME = "UTC"


@dataclass(frozen=True)
class _Calendar:
    """How a language writes dates; `year` follows the year's number."""

    months: tuple[str, ...]
    year: str = ""


_CALENDARS: Mapping[str, _Calendar] = {
    "en": _Calendar(
        (
            *("January", "February", "March", "April", "May", "June", "July"),
            *("August", "September", "October", "November", "December"),
        )
    ),
    "ru": _Calendar(
        (
            *("января", "февраля", "марта", "апреля", "мая", "июня", "июля"),
            *("августа", "сентября", "октября", "ноября", "декабря"),
        ),
        " года",
    ),
}


def in_words(at: datetime, zone: tzinfo, language: str) -> str:
    """Returns `22 December 2026, 18:04 (Europe/Moscow), 15:04 UTC`; UTC's own day where it differs."""
    calendar = _CALENDARS[language]
    local, utc = at.astimezone(zone), at.astimezone(UTC)
    date = f"{_day(local, calendar)} {local.year}{calendar.year}, {local:%H:%M}"
    if str(zone) == _UTC_NAME:
        return f"{date} {_UTC_NAME}"
    day = "" if local.date() == utc.date() else f"{_day(utc, calendar)} "
    return f"{date} ({zone}), {day}{utc:%H:%M} {_UTC_NAME}"


def _day(at: datetime, calendar: _Calendar) -> str:
    return f"{at.day} {calendar.months[at.month - 1]}"
