"""Reports of relays by HTTP: Amazon's with its signature, and the plain signed form."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from server.bounces.amazon import FETCH_PAUSE_S, Topic
from server.bounces.relay_reports import MOST_BYTES, RelayReports
from server.domain.errors import BillingError, Reason
from server.domain.mail import DeliveryState
from server.storage.interface import Delivery, Storage
from tests.bounces.test_receiver import DOMAIN, delivery, sender_of, state
from tests.clock import Clock
from tests.worker.conftest import clock, database, storage
from tests.worker.harness import START, invited

__all__ = ["clock", "database", "delivery", "storage"]  # fixtures

ARN = "arn:aws:sns:eu-west-1:123456789012:bounces"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{HOST}/SimpleNotificationService-{'0a' * 16}.pem"
SUBSCRIBE = f"{HOST}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=1"
SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes or so").decode()
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey = KEY, days: int = 100) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START - timedelta(days=1))
        .not_valid_after(START + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


class Amazon:
    """What is at Amazon's addresses; `read` are those that were asked for."""

    def __init__(self) -> None:
        self.answers = {CERTIFICATE: certificate(), SUBSCRIBE: b"<ok/>"}
        self.read: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.read.append(url)
        await asyncio.sleep(0)  # others come meanwhile
        if url not in self.answers:
            raise OSError("404")
        return self.answers[url]


@pytest.fixture
def amazon() -> Amazon:
    return Amazon()


@pytest.fixture
def reports(storage: Storage, clock: Clock, amazon: Amazon) -> RelayReports:
    topic = Topic(ARN, amazon.fetch, clock, clock.monotonic)
    return RelayReports(storage.bounces, DOMAIN, clock, topic=topic, secret=SECRET)


def bounce(sender: str, kind: str = "Permanent", subtype: str = "General") -> dict[str, Any]:
    """Returns what SES tells of an e-mail, as its documentation shows it."""
    return {
        "notificationType": "Bounce",
        "bounce": {
            "feedbackId": "0102",
            "bounceType": kind,
            "bounceSubType": subtype,
            "bouncedRecipients": [
                {
                    "emailAddress": "someone@example.com",
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                }
            ],
            "timestamp": "2026-01-27T14:59:38.237Z",
        },
        "mail": {"messageId": "0103", "source": sender, "destination": ["someone@example.com"]},
    }


def complaint(sender: str, kind: str | None = "abuse") -> dict[str, Any]:
    """Returns what SES tells of an e-mail that its reader called spam."""
    told = {"complainedRecipients": [{"emailAddress": "someone@example.com"}]}
    return {
        "notificationType": "Complaint",
        "complaint": told | ({"complaintFeedbackType": kind} if kind else {}),
        "mail": {"source": sender},
    }


def signed(
    message: object,
    key: rsa.RSAPrivateKey = KEY,
    version: str = "2",
    **changed: Any,
) -> bytes:
    """Returns a notification as Amazon signs it; what is changed is signed too."""
    fields: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": ARN,
        "Message": json.dumps(message),
        "Timestamp": "2030-01-01T12:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
    } | changed
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if fields["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    hash_ = hashes.SHA256() if version == "2" else hashes.SHA1()
    proof = key.sign(text.encode(), padding.PKCS1v15(), hash_)
    return json.dumps(fields | {"Signature": base64.b64encode(proof).decode()}).encode()


async def refusal(reports: RelayReports, body: bytes, headers: dict[str, str]) -> Reason:
    with pytest.raises(BillingError) as found:
        await reports.take(body, headers)
    return found.value.reason


@pytest.mark.parametrize("version", ["1", "2"])
async def test_amazon_tells_what_came_back(
    reports: RelayReports,
    storage: Storage,
    delivery: Delivery,
    clock: Clock,
    amazon: Amazon,
    version: str,
) -> None:
    sender = sender_of(delivery, clock)
    for _ in range(2):  # it is repeated, and changes nothing then
        await reports.take(signed(bounce(sender), version=version, Subject="A bounce"), {})
    assert await state(storage, delivery) is DeliveryState.BOUNCED
    assert amazon.read == [CERTIFICATE]
    found = await storage.invitations.get_invitation(delivery.invitation_id)
    assert found
    assert found.delivery
    assert found.delivery.last_error
    assert found.delivery.last_error[1:] == (550, "5.1.1")


async def test_what_is_not_lasting_changes_nothing(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock
) -> None:
    sender = sender_of(delivery, clock)
    late = bounce(sender, "Transient")
    late["bounce"]["bouncedRecipients"] = [{"emailAddress": "someone@example.com"}]
    for message in (
        late,
        complaint(sender, "not-spam"),
        complaint(sender, "virus"),
        complaint("b-0@bounces.example.com"),
        {"eventType": "DeliveryDelay", "mail": {"source": sender}},
        {"eventType": "Bounce", "mail": "?", "bounce": [1]},
        {"anything": "else"},
        bounce("b-0@bounces.example.com"),
        bounce(sender.partition("@")[0] + "@elsewhere.example"),
    ):
        await reports.take(signed(message), {})
    assert await state(storage, delivery) is DeliveryState.SENT


@pytest.mark.parametrize("kind", ["abuse", "fraud", "other", None])
async def test_what_its_reader_calls_spam_is_the_last_e_mail(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, kind: str | None
) -> None:
    told = complaint(sender_of(delivery, clock), kind)
    for _ in range(2):
        await reports.take(signed(told), {})
    assert await state(storage, delivery) is DeliveryState.SUPPRESSED
    with pytest.raises(BillingError) as found:
        await invited(storage, delivery.email)
    assert found.value.metadata == {"suppression": "REQUESTED"}


async def test_a_plain_report_tells_of_spam_too(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock
) -> None:
    body = json.dumps({"sender": sender_of(delivery, clock), "action": "unwanted"}).encode()
    await reports.take(body, plain(body))
    assert await state(storage, delivery) is DeliveryState.SUPPRESSED


async def test_what_amazon_did_not_sign_for_the_topic_is_refused(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, amazon: Amazon
) -> None:
    message = bounce(sender_of(delivery, clock))
    other = "arn:aws:sns:eu-west-1:999999999999:bounces"
    paths = (
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-" + "0" * 32,
        "https://evil.example/@sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32,
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-" + "0" * 32,
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-" + "0" * 32,
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32,
        HOST + ":8443/SimpleNotificationService-" + "0" * 32,
        HOST + "/x/SimpleNotificationService-" + "0" * 32,
    )
    forged = [
        *(signed(message, SigningCertURL=f"{path}.pem") for path in paths),
        signed(message, TopicArn=other),
        signed(message, SigningCertURL=7),
        signed(message, SigningCertURL="https://[/"),
        signed(message, version="3"),
        signed(message, Type="Other"),
        signed(message, Type=["Notification"]),
        b"{}",
    ]
    for body in forged:
        assert await refusal(reports, body, {}) is Reason.CREDENTIALS_INVALID
    # For none of these anything was asked of anybody.
    assert amazon.read == []
    stranger = rsa.generate_private_key(65537, 2048)
    changed = json.loads(signed(message))
    changed["Message"] += " "
    unsigned = {name: value for name, value in changed.items() if name != "Signature"}
    for body in (
        signed(message, stranger),
        json.dumps(changed).encode(),
        json.dumps(unsigned).encode(),
        json.dumps(changed | {"Signature": "é" * 10}).encode(),
    ):
        assert await refusal(reports, body, {}) is Reason.CREDENTIALS_INVALID
    assert await state(storage, delivery) is DeliveryState.SENT


async def test_a_certificate_that_can_not_be_had_is_not_asked_for_again_at_once(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, amazon: Amazon
) -> None:
    body = signed(bounce(sender_of(delivery, clock)))
    amazon.answers[CERTIFICATE], whole = b"no certificate", amazon.answers[CERTIFICATE]
    assert await refusal(reports, body, {}) is Reason.CREDENTIALS_INVALID
    assert await refusal(reports, body, {}) is Reason.REPORT_NOT_TAKEN
    assert len(amazon.read) == 1
    clock.advance(timedelta(seconds=FETCH_PAUSE_S))
    del amazon.answers[CERTIFICATE]
    assert await refusal(reports, body, {}) is Reason.REPORT_NOT_TAKEN
    clock.advance(timedelta(seconds=FETCH_PAUSE_S))
    amazon.answers[CERTIFICATE] = whole
    await reports.take(body, {})
    assert await state(storage, delivery) is DeliveryState.BOUNCED
    clock.advance(timedelta(days=200))
    assert await refusal(reports, body, {}) is Reason.CREDENTIALS_INVALID


async def test_strangers_certificates_hold_up_nobody(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, amazon: Amazon
) -> None:
    body = signed(bounce(sender_of(delivery, clock)))
    for number in range(10):
        named = CERTIFICATE[: -len("0.pem")] + f"{number}.pem"
        forged = json.dumps(json.loads(body) | {"SigningCertURL": named}).encode()
        if named != CERTIFICATE:
            assert await refusal(reports, forged, {}) is Reason.REPORT_NOT_TAKEN
    asked = len(amazon.read)
    behind = json.dumps(json.loads(body) | {"SigningCertURL": f"{CERTIFICATE}?again"}).encode()
    assert await refusal(reports, behind, {}) is Reason.CREDENTIALS_INVALID
    assert len(amazon.read) == asked
    await reports.take(body, {})
    assert await state(storage, delivery) is DeliveryState.BOUNCED


async def test_former_certificates_push_out_none(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, amazon: Amazon
) -> None:
    body = signed(bounce(sender_of(delivery, clock)))
    await reports.take(body, {})
    for number in range(8):
        url = CERTIFICATE[: -len("0a.pem")] + f"b{number}.pem"
        amazon.answers[url] = certificate(days=0)
        forged = json.dumps(json.loads(body) | {"SigningCertURL": url}).encode()
        assert await refusal(reports, forged, {}) is Reason.CREDENTIALS_INVALID
        assert await refusal(reports, forged, {}) is Reason.REPORT_NOT_TAKEN
        assert amazon.read.count(url) == 1
    await reports.take(body, {})
    assert amazon.read.count(CERTIFICATE) == 1


async def test_a_subscription_is_confirmed(reports: RelayReports, amazon: Amazon) -> None:
    asked: dict[str, Any] = {"Type": "SubscriptionConfirmation", "Token": "1"}
    await reports.take(signed("You have chosen…", SubscribeURL=SUBSCRIBE, **asked), {})
    assert amazon.read == [CERTIFICATE, SUBSCRIBE]
    elsewhere = signed("…", SubscribeURL="https://evil.example/", **asked)
    assert await refusal(reports, elsewhere, {}) is Reason.CREDENTIALS_INVALID
    assert amazon.read == [CERTIFICATE, SUBSCRIBE]


def plain(body: bytes, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    """Returns the headers of a body that is signed."""
    at = at or datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


async def test_a_plain_report_is_taken_if_it_is_signed(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock
) -> None:
    told = {"sender": sender_of(delivery, clock), "diagnostic": "550 5.1.1 No such user"}
    late = json.dumps(told | {"action": "delayed"}).encode()
    await reports.take(late, plain(late))
    assert await state(storage, delivery) is DeliveryState.SENT
    body = json.dumps(told | {"action": "failed"}).encode()
    another = "whsec_" + base64.b64encode(b"another secret of 24 bytes").decode()
    old = datetime.now(UTC) - timedelta(hours=1)
    for headers in (
        {},
        plain(late),
        plain(body, another),
        plain(body, at=old),
        plain(body) | {"webhook-id": "msg_2"},
        plain(body) | {"webhook-timestamp": "soon"},
        plain(body) | {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1,x"},
    ):
        assert await refusal(reports, body, headers) is Reason.CREDENTIALS_INVALID
    assert await state(storage, delivery) is DeliveryState.SENT
    await reports.take(body, plain(body))
    assert await state(storage, delivery) is DeliveryState.BOUNCED


async def test_what_is_no_report_is_refused(reports: RelayReports) -> None:
    for body in (b"", b"[]", b"{", b"[" * MOST_BYTES, b"\xff", b'{"action": "arrived"}'):
        reason = await refusal(reports, body, plain(body) if body.isascii() else {})
        assert reason is Reason.REQUEST_MALFORMED
    assert await refusal(reports, b" " * (MOST_BYTES + 1), {}) is Reason.REQUEST_TOO_LARGE


async def test_a_report_before_its_e_mail_is_recorded_comes_again(
    reports: RelayReports, storage: Storage, clock: Clock
) -> None:
    await invited(storage)
    (early,) = await storage.mail.claim_deliveries(1, clock(), timedelta(hours=1))
    body = json.dumps({"sender": sender_of(early, clock), "action": "failed"}).encode()
    assert await refusal(reports, body, plain(body)) is Reason.REPORT_NOT_TAKEN
    await storage.mail.finish_delivery(early, clock())
    await reports.take(body, plain(body))
    assert await state(storage, early) is DeliveryState.BOUNCED


async def test_of_many_reports_at_once_the_certificate_is_fetched_once(
    reports: RelayReports, storage: Storage, delivery: Delivery, clock: Clock, amazon: Amazon
) -> None:
    body = signed(bounce(sender_of(delivery, clock)))
    outcomes = await asyncio.gather(
        *(reports.take(body, {}) for _ in range(20)), return_exceptions=True
    )
    assert amazon.read == [CERTIFICATE]
    refused = [each for each in outcomes if each]
    assert refused
    assert all(
        isinstance(each, BillingError) and each.reason is Reason.REPORT_NOT_TAKEN
        for each in refused
    )
    assert await state(storage, delivery) is DeliveryState.BOUNCED


async def test_without_a_topic_and_a_secret_none_are_taken(storage: Storage, clock: Clock) -> None:
    off = RelayReports(storage.bounces, DOMAIN, clock)
    assert await refusal(off, b"{}", {}) is Reason.CREDENTIALS_INVALID
    with_secret = RelayReports(storage.bounces, DOMAIN, clock, secret=SECRET)
    assert await refusal(with_secret, signed(bounce("x")), {}) is Reason.CREDENTIALS_INVALID
