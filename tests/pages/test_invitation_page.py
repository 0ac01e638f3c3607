"""Answering on the page behind the link, in a real browser, in front of the whole service."""

import httpx
from playwright.async_api import Browser, expect

from tests.pages.visitor import ENGLISH, Invited, Visitor, customer_state, invited, sql, visit
from tests.service import Service


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
    await expect(visitor.page.get_by_role("button")).to_have_text("Ask for a new invitation")
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
