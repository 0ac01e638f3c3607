"""The page behind the link in an invitation's e-mail.

Longer than others: one page that says one of fifteen things.
"""

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from billing.v1 import invitation_page_service_pb2 as pages
from google.api import httpbody_pb2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from server.domain.brands import Brand
from server.domain.display import clean, isolated, shown, shown_lines
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    ANSWERED,
    InvitationAction,
    InvitationState,
    InvitationView,
)
from server.languages import LanguageCode, negotiate
from server.rpc.links import Links
from server.rpc.pages.texts import TEXTS, Language
from server.rpc.pipeline.call_context import CallContext

_LONGEST_NAME = 200
_LONGEST_ADDRESS = 254
_LONGEST_DETAIL = 300
# The form sends `answer=accept`; what a browser's extension may add is short. The gateway's limit.
_LARGEST_FORM = 512
_ANSWERS = {
    "accept": InvitationAction.ACCEPT,
    "decline": InvitationAction.DECLINE,
}
# The gateway makes it the HTTP status; see gateway/rest_routes.py.
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
# Refusals of an answer after which the page tells how the invitation is.
_SHOWN = frozenset({Reason.INVITATION_STATE, Reason.INVITATION_HELD, Reason.NOT_FOUND})
# A pending one whose reseller is suspended or removed.
_HELD = "held"
# Whether e-mails go to the address, which the page asks where this stands behind its own address.
_GETS, _STOPPED = "gets_e_mails", "stopped"
_STOP = "?stop=yes"
# Pages with one button, and the answer that it gives.
_ONE_BUTTON = {_GETS: "stop", _STOPPED: "write", InvitationState.EXPIRED.value: "renew"}
_ASKED = "renewal_requested"
_LANGUAGES = {each.value: each for each in LanguageCode}
_FAILURES = {Reason.NOT_FOUND: ("unknown", 404), Reason.RATE_EXCEEDED: ("slow_down", 429)}


@dataclass(frozen=True)
class _Page:
    """What one page says. `kind` names it for the style; a page with `asks` has the two buttons.

    `too_late` is the button that did nothing, `retry_after_s` when to try again.
    """

    kind: str
    status: int
    view: InvitationView | None = None
    too_late: InvitationAction | None = None
    retry_after_s: float | None = None

    @property
    def one_button(self) -> str:
        """Returns the answer that the one button of this page gives; "" for another page."""
        return _ONE_BUTTON.get(self.kind, "")

    @property
    def asks(self) -> bool:
        return self.kind == InvitationState.PENDING.value


class InvitationPageService:
    """billing.v1.InvitationPageService."""

    def __init__(self, links: Links, brand: Brand, zone: tzinfo = UTC) -> None:
        """`zone` is what times are shown in, beside UTC."""
        self._links = links
        self._zone = zone
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
        style = environment.get_template("invitation.css").render(brand=brand)
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
        self, request: pages.GetInvitationPageRequest, call: CallContext
    ) -> httpbody_pb2.HttpBody:
        page = await self._look_up(request.token, call)
        if request.stop and page.view:
            gets = await self._links.gets_e_mails(request.token)
            page = _Page(_GETS if gets else _STOPPED, 200, page.view)
        return await self._answer(replace(page, too_late=_ANSWERS.get(request.too_late)), call)

    async def AnswerInvitationPage(
        self, request: pages.AnswerInvitationPageRequest, call: CallContext
    ) -> httpbody_pb2.HttpBody:
        found = await self._look_up(request.token, call)
        if found.view is None:
            return await self._answer(found, call)
        if len(request.form.data) > _LARGEST_FORM:
            return await self._answer(_Page("too_large", 413), call)
        form = _fields(request.form)
        answer = form.get("answer", [])
        if form.get("List-Unsubscribe") == ["One-Click"]:
            return await self._stop_by_program(request.token, found.view, call)
        if answer == ["renew"] and found.kind == InvitationState.EXPIRED.value:
            return await self._ask_for_renewal(request.token, found.view, call)
        if answer in (["stop"], ["write"]):
            return await self._change_e_mails(request.token, call, resumed=answer == ["write"])
        action = _ANSWERS.get(answer[0]) if len(answer) == 1 else None
        location = "?"
        try:
            if action is InvitationAction.ACCEPT:
                await self._links.accept(request.token, call)
            elif action is InvitationAction.DECLINE:
                await self._links.decline(request.token, call)
        except BillingError as error:
            if error.reason is Reason.IDEMPOTENCY_KEY_REUSED:
                raise  # no form sends a key: it is a program that asks
            if error.reason not in _SHOWN:
                return await self._answer(_failure(error), call)
            # What has ended otherwise in the meantime, or is held, is shown as it is, and that the
            # button did nothing.
            location = f"?too_late={action}"
        # To the same page: going back or loading anew sends no form again.
        await call.send_headers(((_STATUS, "303"), ("location", location), *self._headers))
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8")

    async def _ask_for_renewal(
        self, token: str, view: InvitationView, call: CallContext
    ) -> httpbody_pb2.HttpBody:
        try:
            await self._links.request_renewal(token, call)
        except BillingError as error:
            return await self._answer(_failure(error), call)
        return await self._answer(_Page(_ASKED, 200, view), call)

    async def _stop_by_program(
        self, token: str, view: InvitationView, call: CallContext
    ) -> httpbody_pb2.HttpBody:
        """Answers a mail program at once, since it may follow no other address (RFC 8058)."""
        try:
            await self._links.stop_e_mails(token, call)
        except BillingError as error:
            return await self._answer(_failure(error), call)
        return await self._answer(_Page(_STOPPED, 200, view), call)

    async def _change_e_mails(
        self, token: str, call: CallContext, *, resumed: bool
    ) -> httpbody_pb2.HttpBody:
        """Does what the owner of the address wants, and leads to the page that tells so."""
        try:
            if resumed:
                await self._links.resume_e_mails(token, call)
            else:
                await self._links.stop_e_mails(token, call)
        except BillingError as error:
            return await self._answer(_failure(error), call)
        await call.send_headers(((_STATUS, "303"), ("location", _STOP), *self._headers))
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8")

    async def _look_up(self, token: str, call: CallContext) -> _Page:
        try:
            view = await self._links.look_up(token, call.address)
        except BillingError as error:
            return _failure(error)
        if view.replaced:
            return _Page("replaced", 410, view)
        state = view.invitation.state
        if view.held and state is InvitationState.PENDING:
            return _Page(_HELD, 403, view)
        return _Page(state.value, _STATUSES[state], view)

    async def _answer(self, page: _Page, call: CallContext) -> httpbody_pb2.HttpBody:
        texts = TEXTS[_language(page.view) or negotiate(call.languages)]
        headers = [(_STATUS, str(page.status)), ("content-language", texts.language.value)]
        if page.retry_after_s is not None:
            headers.append(("retry-after", str(max(1, math.ceil(page.retry_after_s)))))
        await call.send_headers((*headers, *self._headers))
        html = self._template.render(**self._content(page, texts))
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=html.encode())

    def _content(self, page: _Page, texts: Language) -> dict[str, Any]:
        names = {"brand": self._brand.name, "wait": texts.waiting(page.retry_after_s or 1)}
        facts: list[tuple[str, str]] = []
        view = page.view
        note: list[str] = []
        details: list[str] = []
        return_uri = ""
        if view:
            options = view.invitation.options
            inviter = shown(options.inviter, _LONGEST_NAME) if options.inviter else ""
            details = [shown(each, _LONGEST_DETAIL) for each in view.details if each]
            if view.invitation.state in ANSWERED and not view.replaced:
                return_uri = view.return_uri
            note = shown_lines(options.note, len(options.note)) if page.asks else []
            view = view._replace(
                reseller_name=shown(view.reseller_name, _LONGEST_NAME),
                customer_name=shown(view.customer_name, _LONGEST_NAME),
                invitation=view.invitation._replace(
                    email=clean(view.invitation.email, _LONGEST_ADDRESS),
                    options=options._replace(inviter=inviter),
                ),
            )
            names |= {"reseller": view.reseller_name, "customer": view.customer_name}
            names["inviter"] = inviter
            names["address"] = view.invitation.email
            facts = (
                []
                if view.replaced or page.kind in (_GETS, _STOPPED)
                else texts.facts(view, self._zone)
            )
        # Each name in a box of its own, so that it leaves the order of our words alone.
        boxes = {key: Markup("<bdi>{}</bdi>").format(name) for key, name in names.items()}
        heading, *paragraphs = texts.pages[page.kind]
        too_late = texts.too_late.get(page.kind) if page.too_late else None
        return {
            "language": texts.language.value,
            "brand": self._brand,
            "style": self._style,
            "kind": page.kind,
            "title": heading.format_map({key: isolated(name) for key, name in names.items()}),
            "heading": _boxed(heading, boxes),
            "notice": too_late and too_late.format(button=texts.buttons.of(page.too_late)),
            "paragraphs": [_boxed(paragraph, boxes) for paragraph in paragraphs],
            "return_uri": return_uri,
            "go_on": texts.go_on.format(host=urlsplit(return_uri).netloc),
            "details": details,
            "quoted": _boxed(texts.writes[0 if names.get("inviter") else 1], boxes) if note else "",
            "quotation": note,
            "facts": facts,
            "buttons": texts.buttons if page.asks else None,
            "one_button": page.one_button,
            "one_label": texts.one_buttons.get(page.one_button, ""),
            "stop_link": _STOP if view and page.kind not in (_GETS, _STOPPED) else "",
            "stop_text": texts.stop_link,
            "ask_reseller": _boxed(texts.ask_reseller, boxes) if view else "",
            "contact": (page.view and page.view.contact) or "",
            "ask_support": texts.ask_support,
            "support_link": _support_link(self._brand.support),
        }


def _fields(form: httpbody_pb2.HttpBody) -> dict[str, list[str]]:
    """Returns what a form says: as browsers send ours, or as mail programs should (RFC 8058)."""
    if not form.content_type.lower().startswith("multipart/form-data"):
        return parse_qs(form.data.decode(errors="replace"))
    head = f"Content-Type: {form.content_type}\r\n\r\n".encode()
    found: dict[str, list[str]] = {}
    try:
        for part in message_from_bytes(head + form.data).walk():
            name = part.get_param("name", header="Content-Disposition")
            if isinstance(name, str) and not part.is_multipart():
                found.setdefault(name, []).append(str(part.get_payload()).strip())
    except (TypeError, ValueError):
        return {}  # parameters in parts, or of a character set (RFC 2231), that the library trips over
    return found


def _language(view: InvitationView | None) -> LanguageCode | None:
    """Returns the language that the invitation asks for, if this release has it."""
    return _LANGUAGES.get(view.invitation.options.language) if view else None


def _boxed(text: str, boxes: Mapping[str, Markup]) -> Markup:
    return Markup(text).format_map(boxes)  # noqa: S704 - ours; the boxes are escaped


def _failure(error: BillingError) -> _Page:
    """Returns the page for a link that leads nowhere, for too many tries, or for an outage."""
    kind, status = _FAILURES.get(error.reason, ("away", 503))
    return _Page(kind, status, retry_after_s=error.retry_after_s)


def _support_link(support: str | None) -> str:
    if support and "@" in support and "/" not in support:
        return f"mailto:{support}"
    return support or ""
