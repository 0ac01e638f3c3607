"""A reseller for one test: who calls, what it was sent, and its time."""

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from .sandbox import BillingService

_LOOK_S = 0.02
_CALL_S = 300.0
# Whatever proxy the environment names, the service is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _call(
    rest: str, verb: str, path: str, body: object, headers: Mapping[str, str]
) -> dict[str, Any]:
    """Calls by REST; raises AssertionError, with the answer, for one that is refused."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - http, on this machine
        rest + path, data, {"content-type": "application/json", **headers}, method=verb
    )
    try:
        with _OPENER.open(request, timeout=_CALL_S) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            told = refused.read().decode(errors="replace")
        raise AssertionError(f"{verb} {path}: {refused.code} {told}") from None
    return found


class Mail:
    """The e-mails that the reseller's invitations have sent."""

    def __init__(self, billing: "Billing") -> None:
        self._billing = billing
        self._seen: dict[str, int] = {}

    def all(self, to: str = "") -> list[EmailMessage]:
        """Returns those to an address, to any for "", oldest first."""
        return [_message(each) for each in self._listed(to)]

    def wait(self, to: str, timeout: float = 5.0) -> EmailMessage:
        """Returns the oldest e-mail to an address that was not returned before.

        Waits for it so many seconds; raises AssertionError if none comes.
        """
        seen = self._seen.get(to, 0)
        found = self._at_least(seen + 1, to, timeout)
        self._seen[to] = seen + 1
        return _message(found[seen])

    def newest_link(self, to: str, timeout: float) -> str:
        """Returns the link in the newest e-mail to an address; waits for one."""
        return str(self._at_least(1, to, timeout)[-1]["link"])

    def _at_least(self, count: int, to: str, timeout: float) -> list[dict[str, Any]]:
        give_up_at = time.monotonic() + timeout
        while len(found := self._listed(to)) < count:
            if time.monotonic() > give_up_at:
                raise AssertionError(f"{len(found)} e-mails to {to} in {timeout:g} s, not {count}")
            time.sleep(_LOOK_S)
        return found

    def _listed(self, to: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"to": to})
        found: list[dict[str, Any]] = self._billing.call("GET", f"/sandbox/v1/emails?{query}")[
            "emails"
        ]
        return found


class Clock:
    """The time that the service goes by, of all resellers that it has."""

    def __init__(self, billing: "Billing") -> None:
        self._billing = billing

    def now(self) -> datetime:
        """Returns it, aware."""
        return _time(self._billing.call("GET", "/sandbox/v1/clock"))

    def advance(self, by: timedelta | float) -> datetime:
        """Winds it on, at most 366 days, given as a timedelta or in seconds.

        Returns once all that follows from the time is done.
        """
        seconds = by / timedelta(seconds=1) if isinstance(by, timedelta) else by
        body = {"duration": f"{seconds:.6f}s"}
        return _time(self._billing.call("POST", "/sandbox/v1/clock:advance", body))


@dataclass(frozen=True)
class Billing:
    """A reseller, and who may call for it; see BillingService for where."""

    rest: str
    rest_tls: str
    ca: str
    grpc: str
    reseller_id: str
    token: str = field(repr=False)
    service_account_id: str = ""
    server_log: Path = Path()

    @property
    def mail(self) -> Mail:
        """Its e-mails."""
        return self.__dict__.setdefault("_mail", Mail(self))  # type: ignore[no-any-return]

    @property
    def clock(self) -> Clock:
        """Its time."""
        return Clock(self)

    def call(
        self, verb: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Calls by REST, with the token; raises AssertionError, with the answer, for a refusal."""
        authorization = {"authorization": f"Bearer {self.token}"}
        return _call(self.rest, verb, path, body, {**authorization, **(headers or {})})

    def link(self, to: str, timeout: float = 5.0) -> str:
        """Returns the newest link that was sent to an address; waits for one."""
        return self.mail.newest_link(to, timeout)

    def events(self) -> list[dict[str, Any]]:
        """Returns what has happened, oldest first."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = urllib.parse.urlencode({"pageSize": 1000, "pageToken": token})
            page = self.call("GET", f"/v1/resellers/{self.reseller_id}/events?{query}")
            found += page.get("events", [])
            token = page.get("nextPageToken", "")
            if not token:
                return found

    def reset(self) -> None:
        """Removes all that the reseller has."""
        self.call("POST", "/sandbox/v1:reset", {"resellerId": self.reseller_id})

    def log(self) -> list[str]:
        """Returns the lines of the service's log about the reseller and its calls."""
        # Lines are written some 50 ms after their calls.
        time.sleep(0.5)
        try:
            lines = self.server_log.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [
            line for line in lines if self.reseller_id in line or self.service_account_id in line
        ]


def new_reseller(service: BillingService) -> Billing:
    """Makes a reseller."""
    made = _call(service.rest, "POST", "/sandbox/v1/resellers", {}, {})
    return Billing(
        *(service.rest, service.rest_tls, service.ca, service.grpc),
        *(made["resellerId"], made["token"], made["serviceAccountId"]),
        server_log=service.var / "logs" / "server-0.log",
    )


def _message(listed: Mapping[str, Any]) -> EmailMessage:
    return message_from_bytes(base64.b64decode(listed["content"]), policy=default)


def _time(clock: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(clock["time"])
