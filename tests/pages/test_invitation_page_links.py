"""What the page behind the link tells whoever has it, or only something like it."""

import re
from pathlib import Path

import grpc
import httpx
import pytest
from billing.v1 import invitation_page_service_pb2 as pages
from billing.v1 import invitation_page_service_pb2_grpc as pages_grpc
from google.api import httpbody_pb2

from tests.pages.visitor import ENGLISH, Visitor, customer_state, invited, sql
from tests.service import Service, running


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


async def test_an_unknown_link_says_so(service: Service, visitor: Visitor) -> None:
    link = invited(service).link
    answer = await visitor.page.goto(link[:-1] + ("A" if link[-1] != "A" else "B"))
    assert answer
    assert answer.status == 404
    await visitor.heading("This link leads nowhere")
    await visitor.screenshot("unknown")
