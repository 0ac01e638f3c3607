"""Reports of relays by HTTP: those of Amazon SES by SNS, and a plain form that is signed.

Who can't prove to be the relay costs a look at 16 KiB of JSON, or a hash of them.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from standardwebhooks import Webhook, WebhookVerificationError

from server.bounces.amazon import (
    FetchError,
    ForgedError,
    Topic,
    is_confirmation,
    is_notification,
    read_ses,
)
from server.bounces.reports import log_report, report_of
from server.domain.bounces import BounceOutcome, BounceReport, parse_bounce_local_part
from server.domain.errors import BillingError, Reason
from server.storage.interface import BounceStorage

_log = logging.getLogger(__name__)

MOST_BYTES = 16 << 10
_FAILED, _DELAYED, _UNWANTED = "failed", "delayed", "unwanted"


class _Signature(Protocol):
    def verify(self, data: bytes, headers: dict[str, str]) -> Any: ...


class RelayReports:
    """Takes reports from one topic of SNS, and by whoever has the secret; either may be None."""

    def __init__(
        self,
        storage: BounceStorage,
        domain: str,
        clock: Callable[[], datetime],
        *,
        topic: Topic | None = None,
        secret: str = "",
    ) -> None:
        """`domain` is what e-mails come back to; `secret` is as that of webhooks (`whsec_…`).

        Raises ValueError for another secret.
        """
        self._storage = storage
        self._domain = domain.lower()
        self._clock = clock
        self._topic = topic
        self._signature: _Signature | None = Webhook(secret) if secret else None

    async def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Records what a report tells; returns once that is durable.

        `headers` are those of Standard Webhooks, in lower case. Raises CREDENTIALS_INVALID, also
        where none are taken, REQUEST_TOO_LARGE, REQUEST_MALFORMED, and REPORT_NOT_TAKEN where it should
        come again.
        """
        if not (self._domain and (self._topic or self._signature)):
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "Reports of relays are not taken here; see BILLING_BOUNCE_SNS_TOPIC and "
                "BILLING_BOUNCE_SECRET.",
            )
        if len(body) > MOST_BYTES:
            raise BillingError(
                Reason.REQUEST_TOO_LARGE,
                f"A report has at most {MOST_BYTES:,} bytes; leave the e-mail's own headers out.",
            )
        found: tuple[str, BounceReport] | None
        if headers.get("webhook-signature"):
            found = self._from_signed_form(body, headers)
        else:
            found = await self._from_amazon(_json_object(body))
        if found:
            await self._record(*found)

    def _from_signed_form(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[str, BounceReport]:
        if self._signature is None:
            raise _forged()
        fields = _json_object(body)
        try:
            self._signature.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError):
            raise _forged() from None
        sender, action = str(fields.get("sender", "")), fields.get("action")
        if action == _UNWANTED:
            return sender, BounceReport(came_back=False, is_unwanted=True)
        if action not in (_FAILED, _DELAYED):
            raise BillingError(
                Reason.REQUEST_MALFORMED,
                f"`action` is `{_FAILED}`, `{_DELAYED}` or `{_UNWANTED}`.",
            )
        status, diagnostic = str(fields.get("status", "")), str(fields.get("diagnostic", ""))
        return sender, report_of(action == _FAILED, status, diagnostic)

    async def _from_amazon(self, fields: Mapping[str, Any]) -> tuple[str, BounceReport] | None:
        if self._topic is None:
            raise _forged()
        try:
            await self._topic.verify(fields)
            if is_confirmation(fields):
                await self._topic.confirm(fields)
                _log.info("the subscription to %s is confirmed", self._topic.arn)
                return None
        except ForgedError:
            raise _forged() from None
        except FetchError:
            raise _not_taken("Amazon's certificate could not be fetched") from None
        if not is_notification(fields):
            _log.warning("the subscription to %s has ended", self._topic.arn)
            return None
        return read_ses(_json_object(str(fields.get("Message")).encode()))

    async def _record(self, sender: str, report: BounceReport) -> None:
        local_part, _, domain = sender.strip("<> ").rpartition("@")
        token = parse_bounce_local_part(local_part) if domain.lower() == self._domain else None
        outcome = BounceOutcome()
        if token:
            outcome = await self._storage.record_bounce(token, report, self._clock())
        if outcome.too_early:
            raise _not_taken("the e-mail is not recorded as sent yet")
        if outcome.invitation_id is None:
            _log.info("a relay's report is of no e-mail of ours")
            return
        log_report(report, outcome)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BillingError(Reason.REQUEST_MALFORMED, "A report is a JSON object.")
    return found


def _forged() -> BillingError:
    return BillingError(
        Reason.CREDENTIALS_INVALID,
        "The report is not signed by who may report; check the secret or the topic.",
    )


def _not_taken(why: str) -> BillingError:
    return BillingError(
        Reason.REPORT_NOT_TAKEN,
        f"The report is not taken: {why}. Send it again.",
        retry_after_s=10.0,
    )
