"""The languages of pages and e-mails."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway import pages as gateway_pages
from server.languages import LanguageCode, negotiate, time_in_words
from server.rpc.pages.texts import TEXTS
from server.worker.mail import messages

MAIL_TEMPLATES = Path(messages.__file__).parent / "templates"


@pytest.mark.parametrize("language", LanguageCode)
def test_each_language_has_texts_templates_and_dates(language: LanguageCode) -> None:
    assert TEXTS[language].language is language
    for texts in ("pages", "ended", "too_late", "one_buttons"):
        own, english = getattr(TEXTS[language], texts), getattr(TEXTS[LanguageCode.EN], texts)
        assert own.keys() == english.keys(), texts
    names = {file.name for file in (MAIL_TEMPLATES / language).iterdir()}
    assert names == {file.name for file in (MAIL_TEMPLATES / LanguageCode.EN).iterdir()}
    assert "2026" in time_in_words(datetime(2026, 12, 22, tzinfo=UTC), UTC, language)
    for status in (400, 404, 429, 503):
        assert f'<section lang="{language}">' in gateway_pages.html(status)


@pytest.mark.parametrize(
    ("zone", "language", "words"),
    [
        ("UTC", LanguageCode.EN, "22 December 2026, 22:04 UTC"),
        ("UTC", LanguageCode.RU, "22 декабря 2026 года, 22:04 UTC"),
        ("Europe/Paris", LanguageCode.EN, "22 December 2026, 23:04 (Europe/Paris), 22:04 UTC"),
        ("Asia/Tokyo", LanguageCode.EN, "23 December 2026, 07:04 (Asia/Tokyo), 22 December 22:04 UTC"),
        ("Asia/Tokyo", LanguageCode.RU, "23 декабря 2026 года, 07:04 (Asia/Tokyo), 22 декабря 22:04 UTC"),
    ],
)  # fmt: skip
def test_times_are_told_in_a_zone_and_in_utc(zone: str, language: LanguageCode, words: str) -> None:
    at = datetime(2026, 12, 22, 22, 4, 59, tzinfo=UTC)
    assert time_in_words(at, ZoneInfo(zone), language) == words


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("fr, ru-RU;q=0.8, en;q=0.5", "ru"),
        ("en;q=0.3, RU;q=0.4", "ru"),
        ("ru-Cyrl-RU", "ru"),
        ("en-GB, ru", "en"),
        ("ru;q=0, *", "en"),
        ("ru;q=1.5", "en"),
        ("eo" + ", eo" * 30 + ", ru", "en"),
    ],
)
def test_the_language_that_a_browser_likes_best_is_taken(accepted: str, language: str) -> None:
    assert negotiate(accepted) == language
