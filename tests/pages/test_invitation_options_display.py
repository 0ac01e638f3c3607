"""What the page shows of an invitation's options, and how it looks."""

import json

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.pages.visitor import ENGLISH, Invited, invited, sql, visit
from tests.service import Service

NOTE = (
    "Dear Ivan,\nyour account is ready: accept the invitation and we begin on Monday.\n\n"
    "Questions? See https://evil.example or write to a@evil.example. <b>Anna</b>\nשלום!"
)


def set_options(service: Service, invitation: Invited, **options: object) -> None:
    """Gives an invitation options past all checks of the input."""
    text = json.dumps(options, ensure_ascii=False)
    sql(service, "UPDATE customers SET options = ? WHERE id = ?", text, invitation.customer_id)


@pytest.mark.parametrize("width", [320, 700])
async def test_a_note_is_quoted_and_nothing_in_it_is_a_link(
    service: Service, chromium: Browser, width: int
) -> None:
    invitation = invited(service)
    set_options(service, invitation, note=NOTE + "\n" + "W" * 200, inviter="Anna Petrova")
    visitor = await visit(chromium, viewport={"width": width, "height": 700})
    await visitor.page.goto(invitation.link)
    quotation = visitor.page.locator("blockquote")
    await expect(quotation).to_contain_text("Dear Ivan,")
    await expect(quotation.locator("p")).to_have_count(6)
    await expect(visitor.page.locator("main")).to_contain_text(
        "Anna Petrova of Development reseller writes to you:"
    )
    assert await visitor.page.locator("main a").count() == 0
    assert await quotation.locator("b").count() == 0
    assert "https://" not in await quotation.inner_text()
    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    await visitor.screenshot(f"note-{width}")
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("You have accepted the invitation")
    await expect(quotation).to_have_count(0)


def test_the_page_is_in_the_language_that_was_asked_for(service: Service) -> None:
    invitation = invited(service)
    for language, heading in (("ru", "приглашает вас"), ("en", "invites you"), ("xx", "invites")):
        set_options(service, invitation, language=language)
        for liked in ("ru", "en") if language != "xx" else ("en",):
            page = httpx.get(invitation.link, headers=ENGLISH | {"accept-language": liked})
            assert heading in page.text
            assert page.headers["content-language"] == (language if language != "xx" else "en")


@pytest.mark.parametrize("width", [320, 700])
async def test_the_page_offers_to_go_on_once_it_is_answered(
    service: Service, chromium: Browser, width: int
) -> None:
    invitation = invited(service)
    uri = "https://shop.example:8443/welcome?a=1&b=2#top"
    origins = json.dumps(["https://shop.example:8443"])
    details = json.dumps(["Остап Бендер", "1 Sea Street, Chernomorsk " + "x" * 90, "+7 495 123"])
    statement = "UPDATE resellers SET return_origins = ?, contact_details = ?"
    sql(service, statement, origins, details)
    set_options(service, invitation, return_uri=uri)
    visitor = await visit(chromium, viewport={"width": width, "height": 700})
    await visitor.page.goto(invitation.link)
    onward = visitor.page.get_by_role("link", name="Go on to shop.example:8443")
    await expect(onward).to_have_count(0)
    await expect(visitor.page.locator("footer")).to_contain_text("+7 495 123")
    await visitor.page.get_by_role("button", name="Decline").click()
    await visitor.heading("You have declined the invitation")
    await expect(onward).to_have_attribute("href", uri)
    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    await visitor.screenshot(f"onward-{width}")
    sql(service, "UPDATE resellers SET return_origins = NULL, contact_details = NULL")
    await visitor.page.reload()
    await visitor.heading("You have declined the invitation")
    await expect(onward).to_have_count(0)
