"""The owner of an address wants no more e-mails, and some again."""

from typing import Any

import httpx
import pytest

from tests.pages.visitor import Visitor, invited, sql
from tests.service import Service


async def test_one_click_and_a_confirmation(service: Service, visitor: Visitor) -> None:
    address = "owner@example.com"
    invitation = invited(service, invitationEmail=address)
    (mail,) = service.mails_to(address)
    assert mail["List-Unsubscribe"] == f"<{invitation.link}?stop=yes>"
    await visitor.page.goto(invitation.link)
    await visitor.page.get_by_role("link", name="Do not write to me").click()
    await visitor.heading("No more e-mails?")
    await visitor.screenshot("no-more-e-mails")
    await visitor.page.get_by_role("button", name="Do not write to me").click()
    await visitor.heading("Nothing is sent to you any more")
    refused = httpx.post(  # noqa: ASYNC210 - nothing else runs
        f"{service.rest}/billing/v1/customers:invite",
        json=service.invitation(invitationEmail="Owner@example.com", person={"tin": "1"}),
        headers=service.headers,
    )
    assert refused.status_code == 400
    assert refused.json()["details"][0]["reason"] == "ADDRESS_SUPPRESSED"
    # The invitation itself is open still.
    await visitor.page.goto(invitation.link)
    await visitor.heading("Development reseller invites you to become its customer")
    await visitor.page.goto(f"{invitation.link}?stop=yes")
    await visitor.page.get_by_role("button", name="Write to me again").click()
    await visitor.heading("No more e-mails?")
    service.finished(
        service.invite(
            invitationEmail=address, name="Another", person={"name": "B", "tin": "7736207543"}
        )["id"]
    )
    assert len(service.mails_to(address)) == 2


ONE_CLICK = {"List-Unsubscribe": "One-Click"}


# As programs should post it, and as they may.
@pytest.mark.parametrize(
    "form",
    [{"files": {name: (None, value) for name, value in ONE_CLICK.items()}}, {"data": ONE_CLICK}],
)
def test_mail_programs_stop_e_mails_by_one_post(service: Service, form: dict[str, Any]) -> None:
    address = f"program-{'-'.join(form)}@example.com"
    invitation = invited(service, invitationEmail=address)
    for _ in range(2):
        answer = httpx.post(f"{invitation.link}?stop=yes", **form)
        assert answer.status_code == 200
        assert "Nothing is sent to you any more" in answer.text
    listed = httpx.get(
        f"{service.rest}/v1/resellers/{service.resellerId}/invitations",
        params={"filter": f'delivery.state = SUPPRESSED AND email = "{address}"'},
        headers=service.headers,
    ).json()
    assert len(listed["invitations"]) == 1
    unknown = f"{service.rest}/invitations/{'a' * 32}?stop=yes"
    assert httpx.post(unknown, **form).status_code == 404
    assert httpx.get(unknown).status_code == 404


UNREADABLE = {
    "a name in parts": (
        "boundary=b",
        "Content-Disposition: form-data; name*=answer; name*0=accept",
    ),
    "a boundary in parts": (
        "boundary*=b; boundary*0=b",
        "Content-Disposition: form-data; name=answer",
    ),
    "a character set": ("boundary=b", "Content-Type: multipart/mixed; boundary*=\0''c"),
}


@pytest.mark.parametrize(("parameters", "header"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_form_that_can_not_be_read_changes_nothing(
    service: Service, parameters: str, header: str
) -> None:
    invitation = invited(service)
    answer = httpx.post(
        invitation.link,
        content=f"--b\r\n{header}\r\n\r\naccept\r\n--b--\r\n",
        headers={"content-type": f"multipart/form-data; {parameters}"},
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "?")
    assert 'value="accept"' in httpx.get(invitation.link).text


async def test_an_expired_invitation_asks_for_a_new_one(service: Service, visitor: Visitor) -> None:
    invitation = invited(service)
    statement = "UPDATE customers SET expires_at = created_at + 1 WHERE id = ?"
    sql(service, statement, invitation.customer_id)
    await visitor.page.goto(invitation.link)
    await visitor.heading("This invitation has expired")
    await visitor.page.get_by_role("button", name="Ask for a new invitation").click()
    await visitor.heading("Development reseller knows that you want a new invitation")
    await visitor.screenshot("renewal-requested")
    events = httpx.get(  # noqa: ASYNC210 - nothing else runs
        f"{service.rest}/v1/resellers/{service.resellerId}/events",
        params={
            "filter": f'type = "invitation.renewal_requested" AND customer = "{invitation.customer_id}"'
        },
        headers=service.headers,
    ).json()["events"]
    assert [event["actor"]["subject"] for event in events] == ["invitee"]
