"""Names and notes that others write are shown in e-mails as they are, and do nothing else."""

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.domain.invitation_options import InvitationOptions
from server.domain.texts import is_visible
from tests.worker.reading_messages import (
    DELIVERY,
    HEADERS,
    LINKS,
    MESSAGES,
    Page,
    invitation,
    part,
    read,
)


def test_a_note_is_quoted() -> None:
    note = "Dear Ivan, " + "the account is ready " * 5 + "\n\n\n<b>See you</b> on evil.example\n"
    message = invitation(options=InvitationOptions(note=note, inviter="Anna & Co"))
    text, html = part(message, "plain"), part(message, "html")
    quoted = [line for line in text.split("\n") if line.startswith(">")]
    assert quoted[0].startswith("> Dear Ivan, the account")
    assert quoted[-2:] == [">", "> <b>See you</b> on evil\u200b.\u200bexample"]
    assert max(map(len, quoted)) <= 72
    assert "Anna & Co of Acme Cloud writes to you:" in text
    page = Page(html)
    assert "Anna & Co of Acme Cloud writes to you:" in page.text
    assert "blockquote" in page.tags
    assert "b" not in page.tags
    assert "<b>See you</b> on evil\u200b.\u200bexample" in page.text
    assert set(page.links) == LINKS
    assert message["Subject"] == invitation()["Subject"]
    only_inviter = invitation(options=InvitationOptions(inviter="Anna & Co"))
    for said in (part(only_inviter, "plain"), Page(part(only_inviter, "html")).text):
        assert "This invitation comes from Anna & Co of Acme Cloud." in said
    only_note = invitation(options=InvitationOptions(note="Hello"))
    for said in (part(only_note, "plain"), Page(part(only_note, "html")).text):
        assert "Acme Cloud writes to you:" in said
        assert "of Acme Cloud" not in said


@settings(deadline=None)
@given(st.text(min_size=1, max_size=1024))
@example("x\r\nBcc: evil@example.com")
@example(".\r\n.\r\n--=_bop0123456789abcdefg--")
@example("\0note \0link \0reseller")
@example("\n" * 1024)
@example("א" * 1024)
def test_no_note_changes_the_structure_of_the_e_mail(note: str) -> None:
    mail = MESSAGES.invitation(DELIVERY._replace(options=InvitationOptions(note=note)))
    lines = mail.content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert max(map(len, lines)) <= 980
    assert mail.content.isascii()
    message = read(mail)
    assert message.keys() == HEADERS
    assert len(list(message.iter_parts())) == 2
    page = Page(part(message, "html"))
    other = invitation(options=InvitationOptions(note="Hello"))
    tags = [tag for tag in page.tags if tag != "br"]
    assert tags == [tag for tag in Page(part(other, "html")).tags if tag != "br"]
    assert set(page.links) == LINKS


INVISIBLE = dict.fromkeys((0x200B, 0x2068, 0x2069))
names = st.text(min_size=1, max_size=300).filter(
    lambda name: is_visible(kept(name, 300)) and not re.search("[\u0300-\u036f]{7}", name)
)


@settings(deadline=None)  # the machine may be busy
@given(names, names)
@example("ООО «Ромашка»", "株式会社クラウド")
@example("شركة الفوترة", "חברה בע״מ")
@example('Żółć & Söhne, "quoted" (comment); <a@b>', "👩‍👩‍👧 e\u0301")
@example("x\r\nBcc: evil@example.com", "y\n\n<script>alert(1)</script>")
@example("=?utf-8?q?=0D=0ABcc:_evil@example.com?=", "=?utf-8?b?0L/RgA==?=")
@example("\0\x0b\x0c\x1c\x85\u2028\u2029\ud800 a", "\u202egnp.exe")
@example("</title><script>alert(1)</script>", "<img src=http://evil.example/>")
@example("{{ link }}{% raw %}", "%(link)s {0}")
@example("--=_bop0123456789abcdefg--", ".\r\n.\r\nQUIT")
@example("\ufdd0 a", "b\uffff \U0010fffe c")
@example("a" * 300, "я" * 300)
@example("a  b\tc", "=")
def test_no_name_changes_the_structure_of_the_e_mail(customer: str, reseller: str) -> None:
    """Whatever the names are, they add no header, no part, no tag, and can be read."""
    mail = MESSAGES.invitation(DELIVERY._replace(customer_name=customer, reseller_name=reseller))
    lines = mail.content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert max(map(len, lines)) <= 980
    assert mail.content.isascii()
    message = read(mail)
    assert message.keys() == HEADERS
    assert not [defect for name in message for defect in message[name].defects]
    assert len(list(message.iter_parts())) == 2
    subject = message["Subject"].translate(INVISIBLE)
    assert subject == f"{kept(reseller, 60)} invites {kept(customer, 60)}".translate(INVISIBLE)
    assert len(subject) < 140
    sentence = f"{kept(reseller, 200)} invites {kept(customer, 200)} to become its customer."
    page = Page(part(message, "html"))
    said = " ".join(part(message, "plain").translate(INVISIBLE).split())
    assert " ".join(sentence.translate(INVISIBLE).split()) in said
    assert sentence.translate(INVISIBLE) in page.text.translate(INVISIBLE)
    assert page.tags == Page(part(invitation(), "html")).tags
    assert set(page.links) == LINKS


def kept(name: str, longest: int) -> str:
    """What should be left of the name, said in another way than the code does."""
    text = "".join(" " if c.isspace() else c for c in name)
    text = re.sub(" +", " ", text).strip()
    text = re.sub("[\u202a-\u202e\u2066-\u2069]", "", text)
    text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cs"})
    text = re.sub("[\ufdd0-\ufdef]", "", text)
    text = "".join(c for c in text if ord(c) % 0x10000 < 0xFFFE).strip()
    if len(text) <= longest:
        return text
    for end in reversed(range(1, longest)):
        if not (
            unicodedata.category(text[end]).startswith("M")
            or text[end] == "\u200d"
            or text[end - 1] == "\u200d"
        ):
            return text[:end].rstrip() + "…"
    return text[: longest - 1] + "…"


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("Your account is locked: https://evil.example/x and", ["https://", "evil.example"]),
        ("HTTP://EVIL.EXAMPLE", ["HTTP://", "EVIL.EXAMPLE"]),
        ("see www.evil.example now", ["www.", "evil.example"]),
        ("evil.com", ["evil.com"]),
        ("пример.рф", ["пример.рф"]),
        ("cafe\u0301.com", [".com"]),
        ("evil。com．x｡y", ["。com", "．x", "｡y"]),
        ("write to a@evil.example", ["a@evil", "evil.example"]),
        ("a＠evil", ["a＠evil"]),
        ("ftp://1.2.3.4:80/", ["ftp://", "1.2", "3.4"]),
        (r"\\server\share", [r"\\"]),
    ],
)
def test_nothing_in_a_name_becomes_a_link(name: str, links: list[str]) -> None:
    message = invitation(customer_name=name, reseller_name=name)
    text, html = part(message, "plain"), part(message, "html")
    for said in (
        message["Subject"],
        text.partition("open this link")[0],
        Page(html).text.partition("See the")[0],
    ):
        assert "Acme" not in said
        for link in links:
            assert link not in said
        assert name in said.replace("\u200b", "")
    assert set(Page(html).links) == LINKS


@pytest.mark.parametrize(
    "name",
    ["Acme Inc., Ltd.", "J. P. Morgan", "Acme: a/b", "50% off?", "@home", "C:\\x", "А.\u00a0Б."],
)
def test_names_that_are_no_links_are_left_alone(name: str) -> None:
    assert (
        invitation(customer_name=name)["Subject"] == f"Acme Cloud invites {' '.join(name.split())}"
    )


@pytest.mark.parametrize("name", ["שלום (בע״מ)!", "شركة الفوترة!", "Acme שלום", "x\u202e!"])
def test_right_to_left_names_leave_the_order_of_our_words_alone(name: str) -> None:
    message = invitation(reseller_name=name)
    has_letters = "\u202e" not in name
    box = f"\u2068{name}\u2069" if has_letters else "x!"
    assert message["Subject"] == f"{box} invites Romashka LLC"
    assert f"{box} invites Romashka LLC" in part(message, "plain")
    html = part(message, "html")
    inner = re.findall("<bdi>(.*?)</bdi>", html)
    assert len(inner) == 5
    assert "\u202e" not in html


@pytest.mark.parametrize(
    "name", ["\u200b", "\u2800\u3164", "\u202e", "\ufe0f", "", "\u200b" * 9_000]
)
def test_names_that_nobody_sees_are_told(name: str) -> None:
    assert invitation(reseller_name=name)["Subject"] == "— invites Romashka LLC"


def test_letters_bear_few_marks() -> None:
    subject = invitation(customer_name="Z" + "\u0335" * 40 + "algo")["Subject"]
    assert subject == "Acme Cloud invites Z" + "\u0335" * 6 + "algo"


def test_huge_names_take_no_time() -> None:
    for character in ("<", "\u0301", "\u202e", " ", "א"):
        message = invitation(
            customer_name=character * 1_000_000, reseller_name=character * 1_000_000
        )
        assert len(message.as_bytes()) < 40_000
        assert message["Subject"]


def test_long_names_are_cut_between_what_a_reader_sees() -> None:
    family = "👩‍👩‍👧"  # five code points, one picture
    subject = invitation(customer_name="a" * 57 + family + "b" * 9)["Subject"]
    assert subject.endswith(f"invites {'a' * 57}…")
    subject = invitation(customer_name="a" * 58 + "e\u0301\u0302" + "b" * 9)["Subject"]
    assert subject.endswith(f"invites {'a' * 58}…")
