"""Notifications of Amazon SNS: who signed them, and what Amazon SES tells by them.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html and
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from server.bounces.reports import report_of
from server.domain.bounces import BounceReport

# Reads an https URL, in bounded time and length; raises OSError.
Fetch = Callable[[str], Awaitable[bytes]]

_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")
_HASHES: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - Amazon's
_NOTIFICATION, _CONFIRMATION = "Notification", "SubscriptionConfirmation"
_SIGNED: Mapping[str, tuple[str, ...]] = {
    _NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        (_CONFIRMATION, "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
# Amazon has one certificate a region, and a new one now and then.
_MOST_CERTIFICATES = 4
# How long a URL is not fetched again after nothing could be had there, or no certificate. A stranger can
# name any: the others are not held up, and so many are fetched at once and remembered.
FETCH_PAUSE_S = 10.0
FETCHES_AT_ONCE = 4
_MOST_PAUSES = 1000
# Why SES sends nothing to an address, whatever the status.
_NO_MAILBOX = ("NoEmail", "Suppressed", "OnAccountSuppressionList")
# Kinds of complaints that no reader made.
_NOT_BY_READERS = ("not-spam", "auth-failure", "virus")


class ForgedError(Exception):
    """A notification that is not Amazon's, or not of the topic."""


class FetchError(Exception):
    """Nothing could be fetched from Amazon now: the notification should come again."""


class Topic:
    """One topic of SNS, whose notifications are believed."""

    def __init__(
        self,
        arn: str,
        fetch: Fetch,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """`arn` is like `arn:aws:sns:eu-west-1:123456789012:bounces`."""
        self.arn = arn
        _, partition, _, region, *_ = arn.split(":")
        end = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        self._host = f"sns.{region}.{end}"
        self._fetch = fetch
        self._clock = clock
        self._monotonic = monotonic
        self._certificates: dict[str, x509.Certificate] = {}
        self._no_fetch_until: dict[str, float] = {}
        self._fetching: set[str] = set()

    async def verify(self, fields: Mapping[str, Any]) -> None:
        """Raises ForgedError unless Amazon signed these fields for the topic; FetchError."""
        names = _SIGNED.get(str(fields.get("Type")))
        url, signature = fields.get("SigningCertURL"), fields.get("Signature")
        hash_ = _HASHES.get(str(fields.get("SignatureVersion")))
        # Whoever names another topic has nothing fetched or computed for it.
        if fields.get("TopicArn") != self.arn or names is None or hash_ is None:
            raise ForgedError
        # Nothing behind the path: one certificate under many URLs would push out the others.
        path = str(url).removeprefix(f"https://{self._host}")
        if not self._is_amazons(url) or not _CERTIFICATE_PATH.fullmatch(path):
            raise ForgedError
        values = [(name, fields[name]) for name in names if name in fields]
        if not all(isinstance(value, str) for _, value in values):
            raise ForgedError
        text = "".join(f"{name}\n{value}\n" for name, value in values)
        certificate = await self._certificate(str(url))
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ForgedError
        try:
            proof = base64.b64decode(str(signature), validate=True)
            key.verify(proof, text.encode(), padding.PKCS1v15(), hash_)
        except (InvalidSignature, ValueError):
            raise ForgedError from None

    async def confirm(self, fields: Mapping[str, Any]) -> None:
        """Confirms a subscription whose signature has been verified. Raises ForgedError, FetchError."""
        url = str(fields.get("SubscribeURL"))
        if not self._is_amazons(url):
            raise ForgedError
        await self._read(url)

    def _is_amazons(self, url: object) -> bool:
        """Tells whether a URL leads to the topic's region, by https and nothing else."""
        if not isinstance(url, str) or not url.isascii() or not url.isprintable():
            return False
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return parts.scheme == "https" and parts.netloc == self._host and "\\" not in url

    async def _certificate(self, url: str) -> x509.Certificate:
        now = self._clock()
        found = self._certificates.get(url)
        if found is None or found.not_valid_after_utc <= now:
            try:
                found = x509.load_pem_x509_certificate(await self._read(url))
            except ValueError:
                self._pause(url)
                raise ForgedError from None
            if not found.not_valid_before_utc <= now < found.not_valid_after_utc:
                # One of Amazon's former ones, say: remembered, they would push out the one that holds.
                self._pause(url)
                raise ForgedError
            if len(self._certificates) >= _MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = found
        return found

    async def _read(self, url: str) -> bytes:
        """Fetches few things at a time, each once, and not again for a while after that failed."""
        is_paused = self._monotonic() < self._no_fetch_until.get(url, 0.0)
        if is_paused or url in self._fetching or len(self._fetching) >= FETCHES_AT_ONCE:
            raise FetchError
        self._fetching.add(url)
        try:
            return await self._fetch(url)
        except OSError as error:
            self._pause(url)
            raise FetchError from error
        finally:
            self._fetching.discard(url)

    def _pause(self, url: str) -> None:
        if len(self._no_fetch_until) >= _MOST_PAUSES:
            self._no_fetch_until.clear()
        self._no_fetch_until[url] = self._monotonic() + FETCH_PAUSE_S


def is_confirmation(fields: Mapping[str, Any]) -> bool:
    """Tells whether a notification asks to confirm the subscription."""
    return fields.get("Type") == _CONFIRMATION


def is_notification(fields: Mapping[str, Any]) -> bool:
    """Tells whether it carries a message, not news of the subscription."""
    return fields.get("Type") == _NOTIFICATION


def read_ses(message: Mapping[str, Any]) -> tuple[str, BounceReport] | None:
    """Returns the envelope's sender of an e-mail, and what SES tells of it; None for other news.

    What SES calls transient changes nothing, as a rule: it says so of replies of people who are away too.
    """
    kind = message.get("notificationType") or message.get("eventType")
    sender = str(_object(message.get("mail")).get("source", ""))
    if kind == "DeliveryDelay":
        return sender, BounceReport(came_back=False)
    if kind == "Complaint":
        feedback = _object(message.get("complaint")).get("complaintFeedbackType")
        return (
            None if feedback in _NOT_BY_READERS else (sender, BounceReport(False, is_unwanted=True))
        )
    if kind != "Bounce":
        return None
    bounce = _object(message.get("bounce"))
    recipients = bounce.get("bouncedRecipients")
    first = _object(recipients[0]) if isinstance(recipients, list) and recipients else {}
    status = str(first.get("status", ""))
    _, _, diagnostic = str(first.get("diagnosticCode", "")).partition(";")
    is_lasting = bounce.get("bounceType") == "Permanent"
    has_failed = first.get("action") == "failed" and status.startswith("5")
    report = report_of(is_lasting or has_failed, status, diagnostic)
    if is_lasting and bounce.get("bounceSubType") in _NO_MAILBOX and not report.smtp_code:
        report = report._replace(about_recipient=True, status="5.1.1")
    return sender, report


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
