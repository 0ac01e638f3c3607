"""What people read where Envoy itself answers at a page's address: HTML in all languages at once.

Envoy can't look into Accept-Language, and knows no brand.
"""

import base64
import hashlib
from dataclasses import dataclass

_STYLE = (
    "body{margin:0;background:#f3f5f7;color:#1b1f24;overflow-wrap:anywhere;"
    'font:1.0625rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}'
    "main{max-width:36rem;margin:2rem auto;padding:0 1.25rem}"
    "h1{margin:2rem 0 .75rem;font-size:1.5rem;line-height:1.25}p{margin:0 0 1rem}"
    "@media(prefers-color-scheme:dark){body{background:#14181c;color:#e8ebee}}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class _Text:
    """Language, heading, paragraph."""

    language: str
    heading: str
    paragraph: str


_WRONG = (
    _Text(
        *("en", "This page can't be opened like that"),
        "Open the link in your e-mail again, or copy it whole into the browser's address line.",
    ),
    _Text(
        *("ru", "Так эту страницу открыть нельзя"),
        "Откройте ссылку из письма ещё раз или скопируйте её целиком в адресную строку браузера.",
    ),
)
_UNKNOWN = (
    _Text(
        *("en", "There is no page at this address"),
        "If you came from an e-mail, open its link again, or copy it whole into the browser's "
        "address line.",
    ),
    _Text(
        *("ru", "По этому адресу страницы нет"),
        "Если вы пришли из письма, откройте ссылку из него ещё раз или скопируйте её целиком в "
        "адресную строку браузера.",
    ),
)
_BUSY = (
    _Text(
        *("en", "Too many people at once"),
        "Wait a few seconds, then open the link in your e-mail again: it shows how things stand.",
    ),
    _Text(
        *("ru", "Слишком много посетителей сразу"),
        "Подождите несколько секунд и снова откройте ссылку из письма: она покажет, как обстоят дела.",
    ),
)
_AWAY = (
    _Text(
        *("en", "We can't show the invitation right now"),
        "That is our fault, not yours. Open the link in your e-mail again in a few minutes: if you "
        "have just answered, it shows whether your answer arrived.",
    ),
    _Text(
        *("ru", "Сейчас приглашение показать не удаётся"),
        "Виноваты мы, а не вы. Через несколько минут снова откройте ссылку из письма: если вы только "
        "что ответили, она покажет, дошёл ли ответ.",
    ),
)


def pattern(folder: str) -> str:
    """Returns the regular expression (RE2) for the paths of the pages in a folder, `/invitations/`.

    Mail programs and people add to links: slashes before and behind, punctuation, a query; some
    write them in capitals. Which part is the link's secret is told by the script in lua/.
    """
    return f"(?i:/+{folder.strip('/')})(?:/.*)?"


def html(status: int) -> str:
    """Returns the page for an HTTP status of 400 or more; holds no %, which Envoy would replace."""
    if status >= 499 or status == 408:
        texts = _AWAY
    else:
        texts = {404: _UNKNOWN, 429: _BUSY}.get(status, _WRONG)
    parts = "".join(
        f'<section lang="{text.language}"><h1>{text.heading}</h1><p>{text.paragraph}</p></section>'
        for text in texts
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex, nofollow"><meta name="color-scheme" content="light dark">'
        f"<title>{' – '.join(text.heading for text in texts)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{parts}</main></body></html>\n"
    )
