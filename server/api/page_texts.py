"""What the invitation's page says, in each language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.domain.invitations import InvitationView


class LanguageCode(StrEnum):
    """The languages that there are."""

    EN = "en"
    RU = "ru"


@dataclass(frozen=True)
class Buttons:
    """The labels of the two buttons."""

    accept: str
    decline: str


@dataclass(frozen=True)
class Language:
    """One language's texts. `pages` holds heading and paragraphs by the page's kind."""

    language: LanguageCode
    pages: Mapping[str, tuple[str, ...]]
    terms: tuple[str, str, str, str]
    ended: Mapping[str, str]
    months: tuple[str, ...]
    date: str
    buttons: Buttons
    ask_reseller: str
    ask_support: str

    def facts(self, view: InvitationView) -> list[tuple[str, str]]:
        """Returns who invites, whom, until when, and when it ended."""
        invitation = view.invitation
        by, whom, address, until = self.terms
        facts = [(by, view.reseller_name), (whom, view.customer_name), (address, invitation.email)]
        if invitation.ended_at and invitation.state.value in self.ended:
            facts.append((self.ended[invitation.state.value], self.day(invitation.ended_at)))
        else:
            facts.append((until, self.day(invitation.expires_at)))
        return facts

    def day(self, at: datetime) -> str:
        """Returns a time in words, to the minute, in UTC."""
        return self.date.format(at=at, month=self.months[at.month - 1])


TEXTS = {
    LanguageCode.EN: Language(
        language=LanguageCode.EN,
        pages={
            "pending": (
                "{reseller} invites you to become its customer",
                (
                    "If you accept, {reseller} opens a billing account for {customer} and charges it for "
                    "what you use. Nothing happens until you choose."
                ),
            ),
            "accepted": (
                "You have accepted the invitation",
                (
                    "The billing account of {customer} is active. {reseller} will get in touch with you "
                    "about the next steps; you can close this page."
                ),
            ),
            "declined": (
                "You have declined the invitation",
                (
                    "No billing account is kept for {customer}. If that was a mistake, ask {reseller} to "
                    "invite you again."
                ),
            ),
            "revoked": (
                "This invitation has been withdrawn",
                (
                    "{reseller} has taken it back, so it can no longer be accepted. Ask {reseller} if you "
                    "did not expect this."
                ),
            ),
            "expired": (
                "This invitation has expired",
                "Its time is over, so it can no longer be accepted. Ask {reseller} to invite you again.",
            ),
            "unknown": (
                "This link leads nowhere",
                (
                    "It may be incomplete, or a newer e-mail has replaced it: open the link in the latest "
                    "invitation that you got, or ask whoever invited you to send it again."
                ),
            ),
            "slow_down": (
                "Too many tries",
                "Wait a minute and open the link in your e-mail again.",
            ),
            "away": (
                "We can't show the invitation right now",
                "That is our fault, not yours, and nothing was changed. Try again in a few minutes.",
            ),
        },
        terms=("Invited by", "Customer", "Sent to", "Valid until"),
        ended={"accepted": "Accepted on", "declined": "Declined on", "revoked": "Withdrawn on"},
        months=(
            *("January", "February", "March", "April", "May", "June", "July"),
            *("August", "September", "October", "November", "December"),
        ),
        date="{at.day} {month} {at.year}, {at:%H:%M} UTC",
        buttons=Buttons("Accept the invitation", "Decline"),
        ask_reseller="Questions about this invitation? Ask {reseller}.",
        ask_support="Need help? Write to",
    ),
    LanguageCode.RU: Language(
        language=LanguageCode.RU,
        pages={
            "pending": (
                "{reseller} приглашает вас стать клиентом",
                (
                    "Если вы примете приглашение, {reseller} откроет для {customer} платёжный аккаунт и "
                    "будет выставлять счета за то, чем вы пользуетесь. Пока вы не выберете, ничего не "
                    "произойдёт."
                ),
            ),
            "accepted": (
                "Вы приняли приглашение",
                (
                    "Платёжный аккаунт {customer} активен. О следующих шагах вам сообщит {reseller}; эту "
                    "страницу можно закрыть."
                ),
            ),
            "declined": (
                "Вы отклонили приглашение",
                (
                    "Платёжный аккаунт для {customer} не сохранён. Если это вышло по ошибке, попросите "
                    "{reseller} пригласить вас ещё раз."
                ),
            ),
            "revoked": (
                "Приглашение отозвано",
                (
                    "{reseller} больше не приглашает вас, принять приглашение нельзя. Если вы этого не "
                    "ожидали, обратитесь к {reseller}."
                ),
            ),
            "expired": (
                "Срок приглашения истёк",
                "Принять его уже нельзя. Попросите {reseller} пригласить вас ещё раз.",
            ),
            "unknown": (
                "Эта ссылка никуда не ведёт",
                (
                    "Возможно, она неполная или её заменило более новое письмо: откройте ссылку из "
                    "последнего приглашения или попросите отправить его снова."
                ),
            ),
            "slow_down": (
                "Слишком много попыток",
                "Подождите минуту и снова откройте ссылку из письма.",
            ),
            "away": (
                "Сейчас приглашение показать не удаётся",
                "Виноваты мы, а не вы, и ничего не изменилось. Попробуйте через несколько минут.",
            ),
        },
        terms=("Приглашает", "Клиент", "Отправлено на", "Действует до"),
        ended={"accepted": "Принято", "declined": "Отклонено", "revoked": "Отозвано"},
        months=(
            *("января", "февраля", "марта", "апреля", "мая", "июня", "июля"),
            *("августа", "сентября", "октября", "ноября", "декабря"),
        ),
        date="{at.day} {month} {at.year} года, {at:%H:%M} UTC",
        buttons=Buttons("Принять приглашение", "Отклонить"),
        ask_reseller="Вопросы о приглашении? Обратитесь к {reseller}.",
        ask_support="Нужна помощь? Пишите:",
    ),
}

_CODES = {code.value: code for code in LanguageCode}
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?\s*"
)


def language_of(accept_language: str) -> LanguageCode:
    """Returns the language that an Accept-Language header likes best (RFC 9110); else English."""
    liked: dict[LanguageCode, float] = {}
    for part in accept_language.split(",")[:20]:
        found = _RANGE.fullmatch(part)
        code = found and _CODES.get(found[1].lower())
        if found and code:
            liked[code] = max(liked.get(code, 0.0), float(found[2] or 1))
    best = max(liked, key=lambda code: liked[code], default=LanguageCode.EN)
    return best if liked.get(best) else LanguageCode.EN
