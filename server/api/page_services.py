"""The page behind the link in an invitation's e-mail."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from billing.v1 import invitation_page_service_pb2 as pages
from google.api import httpbody_pb2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from server.api.calls import Call
from server.api.invitations import Invitations
from server.api.page_texts import TEXTS, Language, language_of
from server.domain.brands import Brand
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationState, InvitationView

# The gateway makes it the HTTP status; see gateway/routes.py.
_STATUS = "x-http-status"
_STATUSES = {
    InvitationState.PENDING: 200,
    InvitationState.ACCEPTED: 200,
    InvitationState.DECLINED: 200,
    InvitationState.REVOKED: 410,
    InvitationState.EXPIRED: 410,
}
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_FAILURES = {Reason.NOT_FOUND: 404, Reason.RATE_EXCEEDED: 429}


@dataclass(frozen=True)
class _Page:
    """What one page says. `kind` names it for the style; a page with `asks` has the two buttons."""

    kind: str
    status: int
    view: InvitationView | None = None

    @property
    def asks(self) -> bool:
        return self.kind == InvitationState.PENDING.value


class InvitationPageService:
    """billing.v1.InvitationPageService."""

    def __init__(self, invitations: Invitations, brand: Brand) -> None:
        self._invitations = invitations
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._brand = brand
        self._template = environment.get_template("invitation.html")
        style = environment.get_template("invitation.css").render(
            brand=brand, on_brand=_readable_on(brand.colour)
        )
        self._style = Markup(style)  # noqa: S704 - ours but for the colour, which has been checked
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._headers = (
            (
                "content-security-policy",
                _CONTENT_SECURITY_POLICY.format(digest),
            ),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("vary", "accept-language"),
        )

    async def GetInvitationPage(
        self, request: pages.GetInvitationPageRequest, call: Call
    ) -> httpbody_pb2.HttpBody:
        try:
            view = await self._invitations.look_up(request.token, call.address)
        except BillingError as error:
            return await self._answer(_failure(error), call)
        state = view.invitation.state
        return await self._answer(_Page(state.value, _STATUSES[state], view), call)

    async def AnswerInvitationPage(
        self, request: pages.AnswerInvitationPageRequest, call: Call
    ) -> httpbody_pb2.HttpBody:
        answer = parse_qs(request.form.data.decode(errors="replace")).get("answer")
        try:
            if answer == ["accept"]:
                await self._invitations.accept(request.token, call.address, call.idempotency_key)
            elif answer == ["decline"]:
                await self._invitations.decline(request.token, call.address, call.idempotency_key)
        except BillingError as error:
            if error.reason is Reason.IDEMPOTENCY_KEY_REUSED:
                raise  # no form sends a key: it is a program that asks
            # What has ended otherwise in the meantime is shown as it is.
            if error.reason is not Reason.INVITATION_STATE:
                return await self._answer(_failure(error), call)
        # To the same page: going back or loading anew sends no form again.
        await call.send_headers(((_STATUS, "303"), ("location", "?"), *self._headers))
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8")

    async def _answer(self, page: _Page, call: Call) -> httpbody_pb2.HttpBody:
        texts = TEXTS[language_of(call.languages)]
        headers = ((_STATUS, str(page.status)), ("content-language", texts.language.value))
        await call.send_headers((*headers, *self._headers))
        html = self._template.render(**self._content(page, texts))
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=html.encode())

    def _content(self, page: _Page, texts: Language) -> dict[str, Any]:
        names: dict[str, str] = {"brand": self._brand.name}
        facts: list[tuple[str, str]] = []
        if page.view:
            names["reseller"] = page.view.reseller_name
            names["customer"] = page.view.customer_name
            facts = texts.facts(page.view)
        heading, *paragraphs = (text.format_map(names) for text in texts.pages[page.kind])
        return {
            "language": texts.language.value,
            "brand": self._brand,
            "style": self._style,
            "kind": page.kind,
            "heading": heading,
            "paragraphs": paragraphs,
            "facts": facts,
            "buttons": texts.buttons if page.asks else None,
            "ask_reseller": texts.ask_reseller.format_map(names) if page.view else "",
            "ask_support": texts.ask_support,
            "support_link": _support_link(self._brand.support),
        }


def _failure(error: BillingError) -> _Page:
    """Returns the page for a link that leads nowhere, for too many tries, or for an outage."""
    status = _FAILURES.get(error.reason, 503)
    return _Page({404: "unknown", 429: "slow_down"}.get(status, "away"), status)


def _support_link(support: str | None) -> str:
    if support and "@" in support and "/" not in support:
        return f"mailto:{support}"
    return support or ""


def _readable_on(colour: str) -> str:
    """Returns black or white, whichever contrasts more with `#rrggbb` (WCAG relative luminance)."""

    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#ffffff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#000000"
