"""A visitor of pages with a browser, and the invitations that it was sent."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from server.storage.schema.codes import CUSTOMER_STATES
from tests.service import ROOT, Service

SCREENSHOTS = ROOT / "build" / "screenshots"
ENGLISH = {"accept-language": "en"}


@dataclass
class Visitor:
    """A browser with one tab, and what went wrong in it."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def screenshot(self, name: str) -> None:
        """Keeps what is to be seen as a test artefact."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"invitation-{name}.png", full_page=True)

    async def heading(self, text: str) -> None:
        """Waits for the page with this heading."""
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(text)

    async def notice(self, text: str) -> None:
        """Waits for what the page says of a button that did nothing."""
        await expect(self.page.get_by_role("alert")).to_have_text(text)


async def visit(chromium: Browser, **options: Any) -> Visitor:
    context = await chromium.new_context(**{"locale": "en-GB", **options})
    page = await context.new_page()
    visitor = Visitor(context, page)
    page.on("console", lambda said: visitor.complaints.append(said.text))
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    return visitor


@dataclass
class Invited:
    """An invitation that has gone out."""

    link: str
    customer_id: str

    @property
    def invitation_id(self) -> str:
        """It ends like the customer's."""
        return "inv" + self.customer_id[3:]


def invited(service: Service, **changes: Any) -> Invited:
    body = service.invitation(**changes)
    operation = service.finished(service.invite(**body)["id"])
    (mail,) = service.mails_to(body["invitationEmail"])
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    (link,) = set(re.findall(r"http\S+/invitations/[^\s?]+", text))
    return Invited(link, operation["response"]["id"])


def sql(service: Service, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(service.var / "billing.db", timeout=10)) as database, database:
        return database.execute(statement, values).fetchall()


def customer_state(service: Service, invitation: Invited) -> str:
    ((code,),) = sql(service, "SELECT state FROM customers WHERE id = ?", invitation.customer_id)
    return str(CUSTOMER_STATES[code])
