"""What the invitation's page says, in each language.

Longer than others: all texts of a language stand together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo

from server.domain.invitations import InvitationAction, InvitationView
from server.languages import LanguageCode, time_in_words


@dataclass(frozen=True)
class Buttons:
    """The labels of the two buttons."""

    accept: str
    decline: str

    def of(self, action: InvitationAction | None) -> str:
        """Returns the label of the button that stands for the action."""
        return self.accept if action is InvitationAction.ACCEPT else self.decline


@dataclass(frozen=True)
class Language:
    """One language's texts. `pages` holds heading and paragraphs by the page's kind.

    `too_late` says that a button did nothing, for each kind of page that then follows; `wait` says
    how long to wait, in seconds or in minutes. `writes` stands before the note of an inviter with a
    name, and before that of one without. `go_on` leads to a host. `one_buttons` are those of pages with
    one button, by the answer that they give.
    """

    language: LanguageCode
    pages: Mapping[str, tuple[str, ...]]
    terms: tuple[str, str, str, str]
    ended: Mapping[str, str]
    buttons: Buttons
    too_late: Mapping[str, str]
    wait: tuple[str, str]
    ask_reseller: str
    ask_support: str
    inviter: str
    writes: tuple[str, str]
    go_on: str
    one_buttons: Mapping[str, str]
    stop_link: str

    def facts(self, view: InvitationView, zone: tzinfo) -> list[tuple[str, str]]:
        """Returns who invites, whom, until when, and when it ended."""
        invitation = view.invitation
        by, whom, address, until = self.terms
        ended = self.ended.get(invitation.state.value)
        at = invitation.ended_at if ended else None
        day = time_in_words(at or invitation.expires_at, zone, self.language)
        return [
            (by, view.reseller_name),
            *([(self.inviter, invitation.options.inviter)] if invitation.options.inviter else ()),
            (whom, view.customer_name),
            (address, invitation.email),
            (ended if ended and at else until, day),
        ]

    def waiting(self, seconds: float) -> str:
        """Returns how long to wait, rounded up."""
        whole = max(1, math.ceil(seconds))
        in_seconds, in_minutes = self.wait
        if whole < 120:
            return in_seconds.format(whole)
        return in_minutes.format(math.ceil(whole / 60))


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
                "Its time is over, so it can no longer be accepted. {reseller} can invite you again.",
            ),
            "held": (
                "This invitation can't be answered now",
                (
                    "{reseller} may not invite customers at present. Nothing was changed: if that ends "
                    "before the invitation does, this link works again."
                ),
            ),
            "unknown": (
                "This link leads nowhere",
                (
                    "It may be incomplete, or a newer e-mail has replaced it: open the link in the latest "
                    "invitation that you got, or ask whoever invited you to send it again."
                ),
            ),
            "replaced": (
                "A newer e-mail has replaced this link",
                (
                    "{reseller} has sent the invitation again. Open the link in the latest e-mail that "
                    "you got about it: this one holds no longer."
                ),
            ),
            "renewal_requested": (
                "{reseller} knows that you want a new invitation",
                "Nothing else has changed. If {reseller} invites you again, you get an e-mail.",
            ),
            "gets_e_mails": (
                "No more e-mails?",
                (
                    "If you choose so, no e-mail goes to {address} any more, from any company that uses "
                    "this service. Invitations that are open stay open."
                ),
            ),
            "stopped": (
                "Nothing is sent to you any more",
                (
                    "No e-mail goes to {address}, from any company that uses this service. You can take "
                    "that back here at any time."
                ),
            ),
            "too_large": (
                "This answer could not be read",
                "Open the link in your e-mail again and choose one of the two buttons.",
            ),
            "slow_down": (
                "Too many tries",
                (
                    "Too many links that lead nowhere have been opened from your network, and so is this "
                    "one. The right link opens all the same: take it whole from the latest e-mail. To try "
                    "this one, wait {wait}."
                ),
            ),
            "away": (
                "We can't show the invitation right now",
                (
                    "That is our fault, not yours. Open the link in your e-mail again in a few minutes: "
                    "if you have just answered, it shows whether your answer arrived."
                ),
            ),
        },
        terms=("Invited by", "Customer", "Sent to", "Valid until"),
        ended={"accepted": "Accepted on", "declined": "Declined on", "revoked": "Withdrawn on"},
        buttons=Buttons("Accept the invitation", "Decline"),
        too_late={
            "accepted": "“{button}” changed nothing: the invitation had been accepted before.",
            "declined": "“{button}” changed nothing: the invitation had been declined before.",
            "revoked": "“{button}” changed nothing: the invitation had been withdrawn before.",
            "expired": "“{button}” changed nothing: the time of the invitation was over.",
            "replaced": "“{button}” changed nothing: this link had been replaced before.",
            "held": "“{button}” changed nothing: the invitation can't be answered now.",
        },
        wait=("{} s", "{} min"),
        ask_reseller="Questions about this invitation? Ask {reseller}.",
        ask_support="Need help? Write to",
        inviter="Sent by",
        writes=("{inviter} of {reseller} writes to you:", "{reseller} writes to you:"),
        go_on="Go on to {host}",
        one_buttons={
            "stop": "Do not write to me",
            "write": "Write to me again",
            "renew": "Ask for a new invitation",
        },
        stop_link="Do not write to me",
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
                "Принять его уже нельзя. {reseller} может пригласить вас ещё раз.",
            ),
            "held": (
                "Сейчас на это приглашение нельзя ответить",
                (
                    "{reseller} пока не может приглашать клиентов. Ничего не изменилось: если это "
                    "закончится раньше срока приглашения, ссылка снова заработает."
                ),
            ),
            "unknown": (
                "Эта ссылка никуда не ведёт",
                (
                    "Возможно, она неполная или её заменило более новое письмо: откройте ссылку из "
                    "последнего приглашения или попросите отправить его снова."
                ),
            ),
            "replaced": (
                "Эту ссылку заменило более новое письмо",
                (
                    "{reseller} отправляет приглашение ещё раз. Откройте ссылку из последнего письма о "
                    "нём: эта больше не действует."
                ),
            ),
            "renewal_requested": (
                "{reseller} знает, что вы хотите новое приглашение",
                "Больше ничего не изменилось. Новое приглашение придёт вам письмом.",
            ),
            "gets_e_mails": (
                "Больше не писать?",
                (
                    "Если вы так решите, на {address} больше не придёт ни одного письма ни от одной "
                    "компании, которая пользуется этим сервисом. Открытые приглашения останутся."
                ),
            ),
            "stopped": (
                "Вам больше ничего не отправляют",
                (
                    "На {address} не уходит ни одно письмо ни от одной компании, которая пользуется этим "
                    "сервисом. Отменить это можно здесь в любое время."
                ),
            ),
            "too_large": (
                "Этот ответ не удалось прочесть",
                "Снова откройте ссылку из письма и нажмите одну из двух кнопок.",
            ),
            "slow_down": (
                "Слишком много попыток",
                (
                    "Из вашей сети открыто слишком много ссылок, которые никуда не ведут, и эта тоже. "
                    "Верная ссылка откроется всё равно: возьмите её целиком из последнего письма. Чтобы "
                    "попробовать эту, подождите {wait}."
                ),
            ),
            "away": (
                "Сейчас приглашение показать не удаётся",
                (
                    "Виноваты мы, а не вы. Через несколько минут снова откройте ссылку из письма: если "
                    "вы только что ответили, она покажет, дошёл ли ответ."
                ),
            ),
        },
        terms=("Приглашает", "Клиент", "Отправлено на", "Действует до"),
        ended={"accepted": "Принято", "declined": "Отклонено", "revoked": "Отозвано"},
        buttons=Buttons("Принять приглашение", "Отклонить"),
        too_late={
            "accepted": "Кнопка «{button}» ничего не изменила: приглашение уже было принято.",
            "declined": "Кнопка «{button}» ничего не изменила: приглашение уже было отклонено.",
            "revoked": "Кнопка «{button}» ничего не изменила: приглашение уже было отозвано.",
            "expired": "Кнопка «{button}» ничего не изменила: срок приглашения уже истёк.",
            "replaced": "Кнопка «{button}» ничего не изменила: ссылку уже заменило новое письмо.",
            "held": "Кнопка «{button}» ничего не изменила: сейчас на приглашение нельзя ответить.",
        },
        wait=("{} с", "{} мин"),
        ask_reseller="Вопросы о приглашении? Обратитесь к {reseller}.",
        ask_support="Нужна помощь? Пишите:",
        inviter="Отправитель",
        writes=("Вам пишет {inviter} ({reseller}):", "Вам пишет {reseller}:"),
        go_on="Перейти на {host}",
        one_buttons={
            "stop": "Больше не писать мне",
            "write": "Снова писать мне",
            "renew": "Попросить новое приглашение",
        },
        stop_link="Больше не писать мне",
    ),
}
