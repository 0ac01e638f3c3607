"""What the e-mails say, as another program reads them."""

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from server.commands import cli
from server.config import Settings, SettingsError
from server.domain.brands import Brand
from server.domain.contacts import ContactDetails
from server.domain.invitation_options import InvitationOptions
from server.mail_preview import Previewed, preview
from server.worker.mail.addresses import MessageSettingError
from server.worker.mail.mailer import Mail, MailRefusedError
from server.worker.mail.messages import MessageBuilder
from tests.worker.reading_messages import (
    DELIVERY,
    ISOLATE,
    LINK,
    LINKS,
    MESSAGES,
    NOW,
    POP,
    STOP,
    TOKEN,
    Page,
    invitation,
    part,
    read,
)


def test_is_what_a_reader_expects() -> None:
    message = invitation()
    assert message["From"] == "Billing <billing@example.com>"
    assert message["To"] == "someone@customer.test"
    assert message["Subject"] == "Acme Cloud invites Romashka LLC"
    assert message["Date"].datetime == NOW
    assert message["Message-ID"] == "<bop0123456789abcdefg@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"]
    assert message["Content-Language"] == "en"
    assert message.get_content_type() == "multipart/alternative"
    assert [each.get_content_type() for each in message.iter_parts()] == ["text/plain", "text/html"]
    text, page = part(message, "plain"), Page(part(message, "html"))
    for shown in (text, page.text):
        assert "Acme Cloud invites Romashka LLC to become its customer" in shown
        said = " ".join(shown.split())
        assert (
            "If you accept, Acme Cloud opens a billing account for Romashka LLC and charges it for "
            "what you use." in said
        )
        assert "until 22 December 2026, 15:04 UTC" in shown
        assert LINK + TOKEN in shown
    assert set(page.links) == LINKS  # nothing is loaded from anywhere


def test_message_id_is_the_same_for_each_attempt() -> None:
    again = invitation(attempt=2, link_token="another")
    assert again["Message-ID"] == invitation()["Message-ID"]
    assert LINK + "another" in part(again, "plain")
    assert invitation(operation_id="bop00000000000000001")["Message-ID"] != again["Message-ID"]


def test_says_of_each_until_when_it_holds() -> None:
    for minute in (4, 5, 4):
        message = invitation(expires_at=DELIVERY.expires_at.replace(minute=minute, second=59))
        for shown in (part(message, "plain"), Page(part(message, "html")).text):
            assert f"until 22 December 2026, 15:0{minute} UTC" in shown


def test_the_e_mail_shows_name_colour_and_support_of_the_brand() -> None:
    brand = Brand("Ромашка & Co", "#A1b2C3", support="help@example.com")
    message = read(MessageBuilder("a@b.test", LINK, lambda: NOW, brand).invitation(DELIVERY))
    text, html = part(message, "plain"), part(message, "html")
    for shown in (text, Page(html).text):
        assert "Ромашка & Co" in shown
        assert "help@example.com" in shown
    assert "#A1b2C3" in html
    assert "mailto:help@example.com" in html
    assert message["Reply-To"] == "help@example.com"
    assert invitation()["Reply-To"] is None


def test_the_e_mail_names_whom_to_ask() -> None:
    support = MessageBuilder(
        "a@b.test", LINK, lambda: NOW, Brand(support="help@example.com"), ("en", "ru")
    )
    delivery = DELIVERY._replace(reseller_contact="sales+1@acme.test")
    message = read(support.invitation(delivery))
    assert message["Reply-To"] == "sales+1@acme.test"
    html = part(message, "html")
    assert 'href="mailto:sales+1@acme.test"' in html
    for said in (part(message, "plain"), Page(html).text):
        for once in (
            "Questions? Ask Acme Cloud: sales+1@acme.test",
            "Help with this service? Write to help@example.com",
            "Есть вопросы? Обратитесь к Acme Cloud: sales+1@acme.test",
            "Нужна помощь с этим сервисом? Пишите: help@example.com",
        ):
            assert said.count(once) == 1, once
    assert read(support.invitation(DELIVERY))["Reply-To"] == "help@example.com"
    assert read(MESSAGES.invitation(delivery))["Reply-To"] == "sales+1@acme.test"
    odd = read(support.invitation(DELIVERY._replace(reseller_contact="a@b\r\nBcc: c@d")))
    assert odd["Reply-To"] == "help@example.com"
    assert odd["Bcc"] is None


@pytest.mark.parametrize("support", ["помощь@пример.рф", "a,b@c.test", "help@пример рф"])
def test_a_support_address_that_can_not_be_used_is_refused(support: str) -> None:
    with pytest.raises(MessageSettingError, match="address for questions"):
        MessageBuilder("a@b.test", LINK, lambda: NOW, Brand(support=support))


def test_a_support_address_in_another_script_is_encoded() -> None:
    messages = MessageBuilder("a@b.test", LINK, lambda: NOW, Brand(support="help@пример.рф"))
    mail = messages.invitation(DELIVERY)
    assert read(mail)["Reply-To"] == "help@xn--e1afmkfd.xn--p1ai"
    assert not mail.needs_smtputf8


def test_one_sent_again_is_in_the_thread_of_the_first() -> None:
    first = invitation()
    again = invitation(operation_id="bop00000000000000001")
    assert again["Message-ID"] != first["Message-ID"]
    assert again["In-Reply-To"] == again["References"] == first["Message-ID"]
    assert again["Subject"] == first["Subject"]
    note = "The links in earlier e-mails hold no longer."
    for type_ in ("plain", "html"):
        assert note in part(again, type_)
        assert note not in part(first, type_)
    assert first["In-Reply-To"] is None


def test_a_reminder_says_so_and_leaves_the_links_before_alone() -> None:
    both = MessageBuilder(
        "Billing <billing@example.com>", LINK, lambda: NOW, languages=("en", "ru")
    )
    id_ = "bop0123456789abcdefg.1797951840000000.7"
    message = read(both.invitation(DELIVERY._replace(operation_id=id_, is_reminder=True)))
    assert message["Subject"] == "Reminder: Acme Cloud invites Romashka LLC"
    assert message["Message-ID"] == f"<{id_}@example.com>"
    assert message["In-Reply-To"] == "<bop0123456789abcdefg@example.com>"
    for text in (part(message, "plain"), part(message, "html")):
        assert "ou have not answered this invitation yet" in text
        assert "ы ещё не ответили на это приглашение" in text or "&#" in text
        assert "hold no longer" not in text
    assert "eminder" not in str(invitation())


def test_each_language_says_it_all() -> None:
    messages = MessageBuilder(
        "a@b.test", LINK, lambda: NOW, Brand("Acme", "#123456", "help@acme.test"), ("ru", "en")
    )
    message = read(messages.invitation(DELIVERY._replace(operation_id="bop00000000000000001")))
    assert message["Content-Language"] == "ru, en"
    assert message["Subject"] == "Acme Cloud приглашает: Romashka LLC"
    text, html = part(message, "plain"), part(message, "html")
    for said in (text, Page(html).text):
        for once in (
            "22 декабря 2026 года, 15:04 UTC",
            "22 December 2026, 15:04 UTC",
            "Ссылки из прежних писем больше не действуют.",
            "The links in earlier e-mails hold no longer.",
            "Есть вопросы? Пишите: help@acme.test",
            "Questions? Write to help@acme.test",
        ):
            assert said.count(once) == 1, once
        assert said.index("декабря") < said.index("December")
    assert text.count(LINK + TOKEN + "\n") == 2
    assert text.count(STOP) == 2
    assert html.startswith('<!DOCTYPE html>\n<html lang="ru">')
    assert '<div lang="en">' in html


@pytest.mark.parametrize("languages", [(), ("fr",), ("en", "../en")])
def test_unknown_languages_are_refused(languages: tuple[str, ...]) -> None:
    with pytest.raises(MessageSettingError, match="languages must be of en, ru"):
        MessageBuilder("a@b.test", LINK, lambda: NOW, languages=languages)


def test_an_e_mail_in_the_language_that_was_asked_for_has_no_other() -> None:
    messages = MessageBuilder("a@b.test", LINK, lambda: NOW, languages=("en",))
    for language, subject, words in (
        ("ru", "Acme Cloud приглашает: Romashka LLC", "22 декабря 2026 года"),
        ("en", "Acme Cloud invites Romashka LLC", "22 December 2026"),
        ("xx", "Acme Cloud invites Romashka LLC", "22 December 2026"),  # of a later release
    ):
        options = InvitationOptions(language=language)
        message = read(messages.invitation(DELIVERY._replace(options=options)))
        assert message["Subject"] == subject
        assert message["Content-Language"] == (language if language != "xx" else "en")
        text, html = part(message, "plain"), part(message, "html")
        assert words in text
        assert words in Page(html).text
        assert ("If you accept" in text) == (language != "ru")
        assert html.startswith(f'<!DOCTYPE html>\n<html lang="{message["Content-Language"]}">')


def test_the_e_mail_says_who_else_can_be_asked() -> None:
    details = ContactDetails("Ostap <b>", "1 Sea Street", "+7 495 123-45-67")
    message = invitation(reseller_details=details, reseller_contact="sales@acme.test")
    text, page = part(message, "plain"), Page(part(message, "html"))
    lines = (
        "Questions? Ask Acme Cloud: sales@acme.test\nOstap <b>\n1 Sea Street\n+7 495 123-45-67\n"
    )
    assert lines in text
    for line in details:
        assert line in page.text
    assert "b" not in page.tags
    alone = invitation(reseller_details=ContactDetails(phone="+7 495 123-45-67"))
    assert "Questions? Ask Acme Cloud:\n+7 495 123-45-67\n" in part(alone, "plain")
    assert alone["Reply-To"] is None


@pytest.mark.parametrize(
    ("at", "zone", "said"),
    [
        (
            DELIVERY.expires_at,
            "Europe/Moscow",
            "22 December 2026, 18:04 (Europe/Moscow), 15:04 UTC",
        ),
        (
            DELIVERY.expires_at,
            "Asia/Tokyo",
            "23 December 2026, 00:04 (Asia/Tokyo), 22 December 15:04 UTC",
        ),
        (DELIVERY.expires_at, "UTC", "22 December 2026, 15:04 UTC"),
        (
            datetime(2026, 7, 1, 12, 0, tzinfo=UTC),
            "America/New_York",
            "1 July 2026, 08:00 (America/New_York), 12:00 UTC",
        ),
    ],
)
def test_times_are_told_in_a_zone_and_in_utc(at: datetime, zone: str, said: str) -> None:
    messages = MessageBuilder(
        "a@b.test", LINK, lambda: NOW, languages=("en", "ru"), zone=ZoneInfo(zone)
    )
    message = read(messages.invitation(DELIVERY._replace(expires_at=at)))
    for text in (part(message, "plain"), Page(part(message, "html")).text):
        assert f"until {said}." in text.replace("\n", " ")
        assert re.search(r"до \d+ \w+ 2026 года, ", text)


class TestAddresses:
    @pytest.mark.parametrize(
        ("email", "recipient"),
        [
            ("someone+tag@customer.test", "someone+tag@customer.test"),
            ("o'neil/x=y@customer.test", "o'neil/x=y@customer.test"),
            ("someone@пример.рф", "someone@xn--e1afmkfd.xn--p1ai"),
            ("someone@straße.de", "someone@xn--strae-oqa.de"),
            ("почта@пример.рф", "почта@пример.рф"),
            ("用户@例え.jp", "用户@例え.jp"),
        ],
    )
    def test_are_sent_as_they_can_be(self, email: str, recipient: str) -> None:
        mail = MESSAGES.invitation(DELIVERY._replace(email=email))
        assert mail.recipient == recipient
        assert mail.sender == "billing@example.com"
        header = read(mail)["To"]
        assert [address.addr_spec for address in header.addresses] == [recipient]
        assert mail.needs_smtputf8 is not recipient.isascii()

    @pytest.mark.parametrize(
        "email",
        [
            *("", "nobody", "@customer.test", "a@", "a b@customer.test", "<a@customer.test>"),
            *("a@customer.test\r\nBcc: x@y.test", "a@customer.test> SIZE=1", "я@", "я\n@пример.рф"),
            *("a@customer.test, b@customer.test", "a@customer.test\x00", '"a\r\nb"@customer.test'),
        ],
    )
    def test_that_cannot_be_are_refused(self, email: str) -> None:
        with pytest.raises(MailRefusedError) as caught:
            MESSAGES.invitation(DELIVERY._replace(email=email))
        assert "customer" not in str(caught.value)


class TestSettings:
    @pytest.mark.parametrize(
        ("sender", "name", "address"),
        [
            ("billing@example.com", "", "billing@example.com"),
            ("Billing <billing@example.com>", "Billing", "billing@example.com"),
            ("<billing@localhost>", "", "billing@localhost"),
            ('"Billing, Inc." <billing@example.com>', "Billing, Inc.", "billing@example.com"),
            ("Счета <billing@пример.рф>", "Счета", "billing@xn--e1afmkfd.xn--p1ai"),
        ],
    )
    def test_the_sender_may_have_a_name_in_any_script(
        self, sender: str, name: str, address: str
    ) -> None:
        mail = MessageBuilder(sender, LINK, lambda: NOW).invitation(DELIVERY)
        assert mail.sender == address
        assert read(mail)["From"].addresses == (Address(name, addr_spec=address),)
        assert read(mail)["Message-ID"].endswith(f"@{address.partition('@')[2]}>")

    @pytest.mark.parametrize(
        "sender",
        [
            *("", "Billing", "Billing <>", "Billing <billing>", "a@b.test, c@d.test", "a@b@c"),
            *("Billing <a@b.test", "Billing\r\nBcc: x <a@b.test>", "Счета <счета@пример.рф>"),
            *("Billing, Inc. <billing@example.com>", "Team: a@b.test;"),
            f"billing@{'x' * 64}.com",
            f"billing@{'x.' * 130}com",
            "billing@-.com",
            "billing@example..com",
        ],
    )
    def test_a_sender_that_can_not_be_used_is_refused(self, sender: str) -> None:
        with pytest.raises(MessageSettingError, match=r"^the sender"):
            MessageBuilder(sender, LINK, lambda: NOW)

    @pytest.mark.parametrize(
        ("prefix", "start"),
        [
            ("https://a.test/i/", "https://a.test/i/"),
            ("https://a.test/i", "https://a.test/i/"),
            ("https://a.test", "https://a.test/"),
            ("https://a.test/i?token=", "https://a.test/i?token="),
            ("https://a.test/i#", "https://a.test/i#"),
        ],
    )
    def test_the_link_is_prefix_and_token(self, prefix: str, start: str) -> None:
        mail = MessageBuilder("a@b.test", prefix, lambda: NOW).invitation(DELIVERY)
        assert f"\n{start}{TOKEN}\n" in part(read(mail), "plain")

    @pytest.mark.parametrize(
        "prefix",
        [
            *("", "invitations/", "javascript:alert(1)//", "https://", "https://a.test/ i"),
            *('http://a/"', "https://a.test/\r\n", "https://пример.рф/", "http://[a/"),
        ],
    )
    def test_a_link_prefix_that_can_not_be_used_is_refused(self, prefix: str) -> None:
        with pytest.raises(MessageSettingError, match=r"^the link"):
            MessageBuilder("a@b.test", prefix, lambda: NOW)

    @pytest.mark.parametrize("colour", ["", "red", "#12345", "#1234567", "#12345;"])
    def test_a_colour_that_is_none_is_refused(self, colour: str) -> None:
        with pytest.raises(ValueError, match="colour"):
            Brand(colour=colour)


def test_each_e_mail_can_be_the_last_one() -> None:
    message = invitation()
    assert message["List-Unsubscribe"] == f"<{STOP}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for prefix, link in (
        ("https://x.example/?token=", f"https://x.example/?token={TOKEN}&stop=yes"),
        (
            "http://localhost:8080/invitations/",
            f"http://localhost:8080/invitations/{TOKEN}?stop=yes",
        ),
    ):
        builder = MessageBuilder("Billing <billing@example.com>", prefix, lambda: NOW)
        message = read(builder.invitation(DELIVERY))
        assert message["List-Unsubscribe"] == f"<{link}>"
        assert (message["List-Unsubscribe-Post"] is None) == prefix.startswith("http:")
        assert link in part(message, "plain")
    # A page whose server does not see the link can't offer it.
    builder = MessageBuilder("Billing <billing@example.com>", "https://x.example/#", lambda: NOW)
    message = read(builder.invitation(DELIVERY))
    assert message["List-Unsubscribe"] is None
    assert "Do not write to me" not in part(message, "plain")


def test_templates_of_the_operators_own(tmp_path: Path) -> None:
    def built() -> MessageBuilder:
        return MessageBuilder(
            "Billing <billing@example.com>", LINK, lambda: NOW, templates=tmp_path
        )

    folder = tmp_path / "en"
    folder.mkdir()
    template = folder / "invitation.txt"
    template.write_text("Dear {{ customer }}: {{ link }}\n")
    message = read(built().invitation(DELIVERY))
    assert part(message, "plain").startswith(f"Dear Romashka LLC: {LINK}{TOKEN}")
    assert "Romashka LLC" in part(message, "html")
    for wrong, problem in (
        ("{{ customer }}", "lacks {{ link }}"),
        ("{{ link }} {{ nothing }}", "'nothing' is undefined"),
        ("{{ link }}\n{% if %}", r"en/invitation.txt, line 2"),
        ("{{ link }}{% if inviter %}{{ inviter.x.y }}{% endif %}", "has no attribute 'x'"),
    ):
        template.write_text(wrong)
        with pytest.raises(MessageSettingError, match=re.escape(problem)):
            built()
    with pytest.raises(MessageSettingError, match="there is no folder"):
        MessageBuilder("a@example.com", LINK, lambda: NOW, templates=tmp_path / "none")


def test_who_writes_a_name_can_not_end_a_part() -> None:
    boundaries = {invitation().get_boundary() for _ in range(2)}
    assert len(boundaries) == 2
    for alert in ("warning", "disabled"):
        assert previewed("--kind", alert).get_boundary() not in boundaries


@pytest.mark.parametrize("language", ["en", "ru"])
def test_plain_text_has_lines_of_72_characters(language: str) -> None:
    arabic = "شركة الفوترة والتجارة العامة المحدودة"
    for reseller, customer in (
        ("Horns and Hooves of Chernomorsk and Partners", "Romashka Trading and Services LLC"),
        (arabic, f"{arabic} {arabic}"),
    ):
        for reminder in (False, True):
            text = part(
                invitation(
                    reseller_name=reseller,
                    customer_name=customer,
                    reseller_contact="sales.department@acme.test",
                    is_reminder=reminder,
                    options=InvitationOptions(language, "Ostap Bender", "A note " * 30),
                ),
                "plain",
            )
            assert reseller in " ".join(text.replace(ISOLATE, "").replace(POP, "").split())
            for line in text.splitlines():
                assert line.count(ISOLATE) == line.count(POP)
                bare = line.replace(ISOLATE, "").replace(POP, "")
                assert len(bare) <= 72 or " " not in bare
    for kind in ("warning", "disabled"):
        text = part(previewed("--kind", kind, mail_languages=language), "plain")
        assert [line for line in text.splitlines() if len(line) > 72 and " " in line[5:]] == []


def previewed(*options: str, **settings: str) -> EmailMessage:
    """Returns what the command prints."""
    env = {f"BILLING_{name.upper()}": text for name, text in settings.items()}
    done = CliRunner().invoke(cli, ["mail", "preview", *options], env=env)
    assert done.exit_code == 0, done.output
    return read(Mail("", "", done.stdout_bytes))


def test_each_kind_of_e_mail_can_be_previewed() -> None:
    subject = previewed("--reseller", "Acme", "--customer", "Romashka")["Subject"]
    assert subject.startswith("Acme invites Romashka")
    for kind, said in (
        ("invitation", "Horns and Hooves invites Romashka LLC"),
        ("resent", "The links in earlier e-mails hold no longer."),
        ("reminder", "Reminder: you are invited"),
        ("warning", "Unless it takes one until then, it is disabled on"),
        ("disabled", "A webhook is disabled"),
    ):
        message = previewed("--kind", kind)
        assert said in " ".join(Page(part(message, "html")).text.split())
        assert ("Reminder" in message["Subject"]) == (kind == "reminder")
    full, bare = (
        part(previewed("--language", "ru", *options), "plain") for options in (["--full"], [])
    )
    for text in ("> as we agreed", "sales@example.com", "Pushkin street"):
        assert (text in full, text in bare) == (True, False)
    with pytest.raises(SettingsError, match="--language: must be one of en, ru"):
        preview(Settings(), Previewed(language="xx"))
