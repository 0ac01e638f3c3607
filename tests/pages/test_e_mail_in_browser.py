"""The e-mail as a browser shows it: on a telephone, in any colour, with odd names."""

import pytest
from playwright.async_api import Page

from server.domain.brands import Brand, contrast
from server.domain.contacts import ContactDetails
from server.domain.invitation_options import NO_OPTIONS, InvitationOptions
from server.worker.mail.messages import MessageBuilder
from tests.browser import browser
from tests.pages.visitor import SCREENSHOTS
from tests.worker.reading_messages import DELIVERY, LINK, NOW, part, read

NAMES = {
    "long": ("W" * 79, "О" * 79),
    "right-to-left": ("שלום (בע״מ)!", "شركة الفوترة (١٢٣)!"),
    "link": ("https://evil.example/" + "x" * 120, "a@evil.example"),
}
BOX = """box => {
    const rects = node => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return range.getClientRects();
    };
    return [rects(box)[0].left, rects(box.nextSibling)[0].left];
}"""


def html(
    names: tuple[str, str],
    colour: str = "#1d4f91",
    options: InvitationOptions = NO_OPTIONS,
) -> str:
    brand = Brand("B" * 60, colour, f"{'help' * 15}@example.com")
    messages = MessageBuilder("a@b.test", LINK, lambda: NOW, brand, ("en", "ru"))
    delivery = DELIVERY._replace(
        customer_name=names[0],
        reseller_name=names[1],
        reseller_contact=f"{'sales' * 12}@example.com",
        link_token="x" * 60,
        options=options,
        reseller_details=ContactDetails("Ostap Bender", "1 Sea Street " + "x" * 90, "+7 495 123"),
    )
    return part(read(messages.invitation(delivery)), "html")


async def shown(page: Page, content: str, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 700})
    await page.set_content(content)


@pytest.mark.parametrize("names", NAMES)
async def test_is_no_wider_than_a_telephone(names: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    async with browser() as chromium:
        for scheme in ("light", "dark"):
            page = await chromium.new_page(color_scheme=scheme)
            for width in (320, 360, 700):
                await shown(page, html(NAMES[names]), width)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                await page.screenshot(
                    path=SCREENSHOTS / f"e-mail-{names}-{width}-{scheme}.png", full_page=True
                )


async def test_the_button_can_be_read_on_any_colour() -> None:
    async with browser() as chromium:
        page = await chromium.new_page()
        for colour in ("#ffff00", "#ffd400", "#ffffff", "#000000", "#808080", "#1d4f91", "#00ff80"):
            await shown(page, html(NAMES["long"], colour), 360)
            style = "getComputedStyle(document.querySelector('a[href]'))"
            text, ground = [
                "#" + "".join(f"{int(part):02x}" for part in value[4:-1].split(","))
                for value in await page.evaluate(f"[{style}.color, {style}.backgroundColor]")
            ]
            assert ground == colour
            assert contrast(text, ground) >= 4.5


async def test_right_to_left_names_stay_in_their_place() -> None:
    async with browser() as chromium:
        page = await chromium.new_page()
        await shown(page, html(NAMES["right-to-left"]), 1200)
        for number in (1, 2):
            name, words = await page.locator("bdi").nth(number).evaluate(BOX)
            assert name < words


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_a_quoted_note_is_no_wider_than_a_telephone(language: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    note = "Dear Ivan,\nyour account is ready.\n\n" + "W" * 300 + "\nשלום!"
    options = InvitationOptions(language, "Anna Petrova", note)
    async with browser() as chromium:
        page = await chromium.new_page()
        for width in (320, 700):
            await shown(page, html(("Romashka LLC", "Acme Cloud"), options=options), width)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            path = SCREENSHOTS / f"e-mail-note-{language}-{width}.png"
            await page.screenshot(path=path, full_page=True)
