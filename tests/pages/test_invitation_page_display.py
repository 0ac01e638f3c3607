"""How the page behind the link shows itself and names from others: to any device and reader."""

import re

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.pages.visitor import ENGLISH, Invited, Visitor, invited, sql, visit
from tests.service import Service


async def test_it_works_without_scripts_on_a_telephone_in_russian(
    service: Service, chromium: Browser
) -> None:
    invitation = invited(service)
    phone = await visit(
        chromium,
        locale="ru-RU",
        java_script_enabled=False,
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    )
    await phone.page.goto(invitation.link)
    await phone.heading("Development reseller приглашает вас стать клиентом")
    await phone.screenshot("pending-telephone-russian-dark")
    await phone.page.get_by_role("button", name="Принять").tap()
    await phone.heading("Вы приняли приглашение")
    await phone.screenshot("accepted-telephone-russian-dark")


async def test_nothing_is_wider_than_a_telephone(service: Service, chromium: Browser) -> None:
    invitation = invited(service, name="W" * 400)
    phone = await visit(chromium, viewport={"width": 320, "height": 640})
    await phone.page.goto(invitation.link)
    assert await phone.page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_it_works_with_the_keyboard_alone(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    await visitor.page.keyboard.press("Tab")
    await expect(visitor.page.get_by_role("button", name="Accept")).to_be_focused()
    await visitor.screenshot("keyboard")
    await visitor.page.keyboard.press("Enter")
    await visitor.heading("You have accepted the invitation")


async def test_a_screen_reader_finds_its_way(service: Service, visitor: Visitor) -> None:
    await visitor.page.goto(invited(service, name="Horns and Hooves").link)
    await expect(visitor.page.locator("body")).to_match_aria_snapshot("""
    - banner:
      - paragraph: Billing
    - main:
      - heading "Development reseller invites you to become its customer" [level=1]
      - term: Invited by
      - definition: Development reseller
      - term: Customer
      - definition: Horns and Hooves
      - button "Accept the invitation"
      - button "Decline"
    """)
    assert await visitor.page.get_attribute("html", "lang") == "en"


def rename(service: Service, invitation: Invited, name: str) -> None:
    """Gives a customer a name past all checks of the input, as rows from before them have."""
    sql(service, "UPDATE customers SET name = ? WHERE id = ?", name, invitation.customer_id)


@pytest.mark.parametrize(
    "name", ["<" * 1_000_000, "&" * 300, "\u0301" * 100_000, "\n" * 5_000 + "a"]
)
def test_names_of_any_length_are_shown_in_part(service: Service, name: str) -> None:
    invitation = invited(service)
    rename(service, invitation, name)
    answer = httpx.get(invitation.link, headers=ENGLISH)
    assert answer.status_code == 200
    assert len(answer.content) < 20_000
    assert 'value="accept"' in answer.text
    assert httpx.post(invitation.link, data={"answer": "accept"}).status_code == 303


async def test_names_leave_the_order_of_our_words_alone(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.set_viewport_size({"width": 1200, "height": 900})
    for name in ("שלום (בע״מ)!", "شركة الفوترة (١٢٣)!", "\u202egnp.exe", "\u2067abc!", "abc\u202e"):
        rename(service, invitation, name)
        await visitor.page.goto(invitation.link)
        paragraph = visitor.page.get_by_text("opens a billing account for")
        before, box, after = await paragraph.evaluate(
            """element => {
                const box = element.querySelectorAll("bdi")[1];
                const left = node => {
                    const range = document.createRange();
                    range.selectNodeContents(node);
                    return range.getClientRects();
                };
                const words = left(box.previousSibling);
                return [words[words.length - 1].right, left(box)[0].left, left(box.nextSibling)[0].left];
            }"""
        )
        assert before <= box + 0.5 < after, name
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", await paragraph.inner_text())
    await visitor.page.get_by_role("button", name="Accept").focus()
    rename(service, invitation, "שלום, עולם (בע״מ)!")
    await visitor.page.goto(invitation.link)
    await visitor.screenshot("right-to-left")


def test_names_that_read_like_links_become_none(service: Service) -> None:
    name = "Your account is locked: https://evil.example/x and www.evil.example or a@evil.example"
    invitation = invited(service)
    rename(service, invitation, name)
    text = httpx.get(invitation.link, headers=ENGLISH).text
    for link in ("https://", "www.evil", "evil.example", "a@evil"):
        assert link not in text
    assert "Your account is locked" in text


def test_names_are_text_and_never_markup(service: Service) -> None:
    name = '<script>alert(1)</script> & "Co" {{7*7}} {customer}'
    html = httpx.get(invited(service, name=name).link, headers=ENGLISH).text
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in html
    assert "{{7*7}} {customer}" in html


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("en-US,en;q=0.9,ru;q=0.8", "en"),
        ("de,fr;q=0.5", "en"),
        ("de,ru;q=0.5,en;q=0.1", "ru"),
        ("ru;q=0", "en"),
        (";;,=q", "en"),
    ],
)
def test_the_page_is_in_the_browsers_language(
    service: Service, accepted: str, language: str
) -> None:
    answer = httpx.get(f"{service.rest}/invitations/x", headers={"accept-language": accepted})
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.text
