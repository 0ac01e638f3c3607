"""The page behind the link, in a real browser, in front of the whole service."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_page_service_pb2_grpc as pages_grpc
from google.api import httpbody_pb2
from playwright.async_api import Browser, BrowserContext, Page, expect

from server.storage.schema.codes import CUSTOMER_STATES
from tests.browser import browser
from tests.service import ROOT, Service, running

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


@pytest_asyncio.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


async def visit(chromium: Browser, **options: Any) -> Visitor:
    context = await chromium.new_context(**{"locale": "en-GB", **options})
    page = await context.new_page()
    visitor = Visitor(context, page)
    page.on("console", lambda said: visitor.complaints.append(said.text))
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    return visitor


@pytest_asyncio.fixture
async def visitor(chromium: Browser) -> AsyncIterator[Visitor]:
    arrived = await visit(chromium)
    yield arrived
    # A page for a link that holds no longer comes with an HTTP error, which the console tells.
    assert [text for text in arrived.complaints if "status of 4" not in text] == []


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
    (link,) = set(re.findall(r"http\S+/invitations/\S+", text))
    return Invited(link, operation["response"]["id"])


def sql(service: Service, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(service.var / "billing.db", timeout=10)) as database, database:
        return database.execute(statement, values).fetchall()


def customer_state(service: Service, invitation: Invited) -> str:
    ((code,),) = sql(service, "SELECT state FROM customers WHERE id = ?", invitation.customer_id)
    return str(CUSTOMER_STATES[code])


async def test_accepting_makes_the_customer_active(service: Service, visitor: Visitor) -> None:
    invitation = invited(service, name="Horns and Hooves")
    await visitor.page.goto(invitation.link)
    await visitor.heading("Development reseller invites you to become its customer")
    await expect(visitor.page.get_by_role("definition").nth(1)).to_have_text("Horns and Hooves")
    await visitor.screenshot("pending")
    assert customer_state(service, invitation) == "acceptance_required"
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("You have accepted the invitation")
    await visitor.screenshot("accepted")
    assert customer_state(service, invitation) == "active"
    await visitor.page.reload()
    await visitor.heading("You have accepted the invitation")


async def test_declining_makes_the_customer_inactive(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    await visitor.page.get_by_role("button", name="Decline").click()
    await visitor.heading("You have declined the invitation")
    await visitor.screenshot("declined")
    assert customer_state(service, invitation) == "inactive"


async def test_a_double_click_is_one_answer(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    await visitor.page.get_by_role("button", name="Accept").dblclick()
    await visitor.heading("You have accepted the invitation")
    assert customer_state(service, invitation) == "active"


async def test_the_back_button_shows_how_it_ended(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(f"{service.rest}/docs")
    await visitor.page.goto(invitation.link)
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("You have accepted the invitation")
    await visitor.page.go_back()
    await visitor.page.go_forward()
    await visitor.heading("You have accepted the invitation")
    visitor.complaints.clear()  # those of /docs


async def test_a_stale_tab_can_not_change_the_answer(service: Service, chromium: Browser) -> None:
    invitation = invited(service)
    first, second = await visit(chromium), await visit(chromium)
    for tab in (first, second):
        await tab.page.goto(invitation.link)
    await first.page.get_by_role("button", name="Decline").click()
    await first.heading("You have declined the invitation")
    await second.page.get_by_role("button", name="Accept").click()
    await second.heading("You have declined the invitation")
    await second.notice(
        "“Accept the invitation” changed nothing: the invitation had been declined before."
    )
    await second.screenshot("stale")
    assert customer_state(service, invitation) == "inactive"


async def test_a_stale_tab_can_not_decline_what_was_accepted(
    service: Service, chromium: Browser
) -> None:
    invitation = invited(service)
    first, second = await visit(chromium), await visit(chromium, locale="ru-RU")
    for tab in (first, second):
        await tab.page.goto(invitation.link)
    await first.page.get_by_role("button", name="Accept").click()
    await first.heading("You have accepted the invitation")
    await second.page.get_by_role("button", name="Отклонить").click()
    await second.heading("Вы приняли приглашение")
    await second.notice("Кнопка «Отклонить» ничего не изменила: приглашение уже было принято.")
    assert customer_state(service, invitation) == "active"


def test_the_same_answer_again_says_nothing_of_it(service: Service) -> None:
    link = invited(service).link
    for _ in range(2):
        answer = httpx.post(link, data={"answer": "accept"}, headers=ENGLISH, follow_redirects=True)
        assert "You have accepted the invitation" in answer.text
        assert "changed nothing" not in answer.text


async def test_an_expired_invitation_says_so(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    sql(service, "UPDATE customers SET expires_at = 1 WHERE id = ?", invitation.customer_id)
    answer = await visitor.page.goto(invitation.link)
    assert answer
    assert answer.status == 410
    await visitor.heading("This invitation has expired")
    await expect(visitor.page.get_by_role("button")).to_have_count(0)
    await visitor.screenshot("expired")


async def test_an_expired_invitation_can_not_be_accepted(
    service: Service, visitor: Visitor
) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    sql(service, "UPDATE customers SET expires_at = 1 WHERE id = ?", invitation.customer_id)
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("This invitation has expired")
    await visitor.notice(
        "“Accept the invitation” changed nothing: the time of the invitation was over."
    )


def act(service: Service, invitation: Invited, action: str) -> None:
    """Does to an invitation what its reseller can do."""
    name = f"resellers/{service.resellerId}/invitations/{invitation.invitation_id}"
    answer = httpx.post(f"{service.rest}/v1/{name}:{action}", json={}, headers=service.headers)
    assert answer.status_code == 200, answer.text


async def test_a_revoked_invitation_says_so(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    act(service, invitation, "revoke")
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("This invitation has been withdrawn")
    await visitor.notice(
        "“Accept the invitation” changed nothing: the invitation had been withdrawn before."
    )
    await visitor.screenshot("revoked")
    assert customer_state(service, invitation) == "inactive"


async def test_a_link_that_a_newer_e_mail_replaced_says_so(
    service: Service, visitor: Visitor
) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    act(service, invitation, "resend")
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("A newer e-mail has replaced this link")
    await visitor.notice(
        "“Accept the invitation” changed nothing: this link had been replaced before."
    )
    await visitor.screenshot("replaced")
    answer = await visitor.page.goto(invitation.link)
    assert answer
    assert answer.status == 410
    await visitor.heading("A newer e-mail has replaced this link")
    await expect(visitor.page.get_by_role("alert")).to_have_count(0)
    await expect(visitor.page.get_by_text("in the latest e-mail")).to_have_count(1)
    await expect(visitor.page.get_by_role("definition")).to_have_count(0)
    assert customer_state(service, invitation) == "acceptance_required"


async def test_the_link_of_a_suspended_reseller_says_so(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    await visitor.page.goto(invitation.link)
    service.command("resellers", "suspend", service.resellerId)
    try:
        await visitor.page.get_by_role("button", name="Accept").click()
        await visitor.heading("This invitation can't be answered now")
        await visitor.notice(
            "“Accept the invitation” changed nothing: the invitation can't be answered now."
        )
        await expect(visitor.page.get_by_role("button")).to_have_count(0)
        answer = await visitor.page.goto(invitation.link)
        assert answer
        assert answer.status == 403
        await visitor.screenshot("held")
    finally:
        service.command("resellers", "resume", service.resellerId)
    assert customer_state(service, invitation) == "acceptance_required"
    await visitor.page.goto(invitation.link)
    await visitor.page.get_by_role("button", name="Accept").click()
    await visitor.heading("You have accepted the invitation")


async def test_an_unknown_link_says_so(service: Service, visitor: Visitor) -> None:
    link = invited(service).link
    answer = await visitor.page.goto(link[:-1] + ("A" if link[-1] != "A" else "B"))
    assert answer
    assert answer.status == 404
    await visitor.heading("This link leads nowhere")
    await visitor.screenshot("unknown")


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


def test_the_form_is_looked_at_after_the_link(service: Service) -> None:
    """Straight at the server: the gateway refuses such a form before."""
    form = b"%41=%41&" * 8_000
    link = invited(service).link
    with grpc.insecure_channel(service.grpc) as channel:
        answer = pages_grpc.InvitationPageServiceStub(channel).AnswerInvitationPage

        def page(token: str, data: bytes) -> tuple[str, str]:
            body, call = answer.with_call(
                pages.AnswerInvitationPageRequest(
                    token=token, form=httpbody_pb2.HttpBody(data=data)
                )
            )
            headers = dict(call.initial_metadata())
            return str(headers["x-http-status"]), body.data.decode()

        assert page("x", form)[0] == "404"
        status, text = page(link.rpartition("/")[2], form)
        assert status == "413"
        assert "This answer could not be read" in text
        assert page(link.rpartition("/")[2], b"answer=\xff%ff&answer")[0] == "303"


def test_right_links_open_whatever_wrong_ones_came_from_the_address(tmp_path: Path) -> None:
    with running(tmp_path / "var", unknown_links_per_min=6) as service:
        right = invited(service)
        wrong = right.link[:-8] + "AAAAAAAA"
        answers = [httpx.get(wrong, headers=ENGLISH) for _ in range(8)]
        assert {answer.status_code for answer in answers} == {404, 429}
        slow = answers[-1]
        assert "Too many tries" in slow.text
        wait_s = int(slow.headers["retry-after"])
        assert 1 <= wait_s <= 10
        assert f"wait {wait_s} s." in re.sub("</?bdi>", "", slow.text)
        assert httpx.get(right.link).status_code == 200
        accepted = httpx.post(right.link, data={"answer": "accept"})
        assert accepted.status_code == 303
        assert customer_state(service, right) == "active"
        assert httpx.post(wrong, data={"answer": "accept"}).status_code == 429


def test_opening_the_link_changes_nothing(service: Service) -> None:
    invitation = invited(service)
    before = sql(service, "SELECT * FROM customers WHERE id = ?", invitation.customer_id)
    for method in ("GET", "HEAD", "OPTIONS"):
        httpx.request(method, invitation.link)
    httpx.get(invitation.link + "?answer=accept")
    for data in ({}, {"answer": "perhaps"}, {"answer": ["accept", "decline"]}):
        assert httpx.post(invitation.link, data=data).status_code == 303
    assert before == sql(service, "SELECT * FROM customers WHERE id = ?", invitation.customer_id)


def test_names_are_text_and_never_markup(service: Service) -> None:
    name = '<script>alert(1)</script> & "Co" {{7*7}} {customer}'
    html = httpx.get(invited(service, name=name).link, headers=ENGLISH).text
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in html
    assert "{{7*7}} {customer}" in html


@pytest.mark.parametrize("path", ["", "x", "x" * 32, "x" * 20_000, "%00", "%ff", "а" * 32, "a%2Fb"])
def test_wrong_tokens_get_a_page_or_a_status(service: Service, path: str) -> None:
    answer = httpx.get(f"{service.rest}/invitations/{path}", headers=ENGLISH)
    assert answer.status_code in (400, 404, 431)
    if answer.headers["content-type"].startswith("text/html"):
        assert "This link leads nowhere" in answer.text
    else:
        assert answer.json()["code"] in (3, 5)


def test_headers_are_strict_and_the_secret_stays_in_the_link(service: Service) -> None:
    link = invited(service).link
    token = link.rpartition("/")[2]
    first = httpx.get(link)
    answered = httpx.post(link, data={"answer": "accept"})
    for answer in (first, answered):
        assert token not in answer.text
        assert all(token not in value for value in answer.headers.values())
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
    logs = [file.read_text() for file in Path(service.var / "logs").iterdir()]
    assert all(token not in log for log in logs)


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
