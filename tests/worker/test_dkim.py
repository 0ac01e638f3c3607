"""Signatures of e-mails (RFC 6376, RFC 8463), as their recipients' servers verify them."""

import asyncio
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.composition.mail import dkim_signer
from server.config import Settings, SettingsError
from server.dkim_command import new_keys
from server.worker.mail.dkim import DkimKey, Signer, SigningMailer
from server.worker.mail.mailer import Mail
from tests.worker.mail_server import MailServer
from tests.worker.mailing import mailing
from tests.worker.reading_messages import DELIVERY, MESSAGES

KEYS = [
    DkimKey("a-rsa", rsa.generate_private_key(65537, 2048)),
    DkimKey("an-ed25519", Ed25519PrivateKey.generate()),
]
SIGNER = Signer(KEYS, "Example.com")
RECORDS = {f"{key.selector}._domainkey.example.com": key.dns_value for key in KEYS}
E_MAILS = {
    name: MESSAGES.invitation(delivery).content
    for name, delivery in {
        "plain": DELIVERY,
        "of a contact": DELIVERY._replace(reseller_contact="help@acme.example"),
        "long names": DELIVERY._replace(customer_name="Ромашка " * 30),
        "sent again": DELIVERY._replace(first_operation_id="bop1123456789abcdefg"),
        "internationalized": DELIVERY._replace(email="почта@пример.рф"),
    }.items()
}
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def verified(content: bytes, number: int, records: dict[str, str] = RECORDS) -> bool:
    def dns(name: bytes, timeout: int = 0) -> bytes:
        return records[name.decode().rstrip(".")].encode()

    try:
        is_right: bool = dkim.DKIM(content).verify(number, dnsfunc=dns)
    except dkim.ValidationError:  # the body's hash is another
        return False
    return is_right


@pytest.mark.parametrize("content", E_MAILS.values(), ids=E_MAILS)
def test_each_key_signs(content: bytes) -> None:
    signed = SIGNER.signed(content)
    assert signed.endswith(content)
    assert signed.count(b"DKIM-Signature: ") == len(KEYS)
    assert [verified(signed, number) for number in range(len(KEYS))] == [True, True]
    assert all(len(line) <= 78 for line in signed.partition(b"From:")[0].split(b"\r\n"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"From: Billing", b"From: Bank"),
        (b"Subject: ", b"Subject: Urgent: "),
        (b"Acme", b"Evil"),
        *(
            (b"From: Billing", name + b": someone@evil.example\r\nFrom: Billing")
            for name in (b"From", b"To", b"Cc", b"Reply-To", b"Subject")
        ),
        (b"Auto-Submitted: auto-generated", b"Auto-Submitted: no"),
        (b"Content-Language: ", b"Content-Language: de, "),
    ],
)
def test_what_is_changed_or_added_on_the_way_is_noticed(before: bytes, after: bytes) -> None:
    changed = SIGNER.signed(E_MAILS["plain"]).replace(before, after)
    assert [verified(changed, number) for number in range(len(KEYS))] == [False, False]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"Subject: Acme ", b"SUBJECT:  Acme\r\n\t"), (b"Hello,\r\n", b"Hello, \r\n")],
)
def test_white_space_on_the_way_breaks_no_signature(before: bytes, after: bytes) -> None:
    signed = SIGNER.signed(E_MAILS["plain"])
    assert before in signed
    changed = signed.replace(before, after)
    assert [verified(changed, number) for number in range(len(KEYS))] == [True, True]


async def test_what_is_sent_is_signed(mail_server: MailServer) -> None:
    async with mailing(mail_server.url) as smtp:
        mailer = SigningMailer(smtp, SIGNER)
        await mailer.send(MESSAGES.invitation(DELIVERY))
        await mailer.close()
    (received,) = mail_server.received
    assert [verified(received.content, number) for number in range(len(KEYS))] == [True, True]


class _Sink:
    """Takes e-mails as fast as they come."""

    async def send(self, mail: Mail) -> None: ...

    async def close(self) -> None: ...


class _WaitingSigner(Signer):
    """Signs once the event loop says so, which it can't where signing holds it up."""

    def __init__(self) -> None:
        super().__init__(KEYS, "example.com")
        self.begun, self.allowed = threading.Event(), threading.Event()

    def signed(self, content: bytes) -> bytes:
        self.begun.set()
        assert self.allowed.wait(30)
        return super().signed(content)


async def test_the_event_loop_goes_on_while_an_e_mail_is_signed() -> None:
    signer = _WaitingSigner()
    mailer = SigningMailer(_Sink(), signer)
    sending = asyncio.create_task(mailer.send(MESSAGES.invitation(DELIVERY)))
    assert await asyncio.to_thread(signer.begun.wait, 30)
    signer.allowed.set()
    await sending
    await mailer.close()


def settings(**changes: object) -> Settings:
    return Settings(**changes)  # type: ignore[arg-type]


def test_new_keys_are_private_and_sign_as_their_records_say(tmp_path: Path) -> None:
    told = new_keys(settings(var=tmp_path, smtp_url="smtp://relay.example.net"), NOW, None)
    lines = told.splitlines()
    files = sorted((tmp_path / "dkim").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    given = dict(
        line.removeprefix("BILLING_").lower().split("=", 1)
        for line in lines
        if line.startswith("BILLING_DKIM_KEY")
    )
    chosen = dict(line.split("=", 1) for line in lines if line.startswith("BILLING_"))
    signer = dkim_signer(
        settings(
            **given,
            dkim_selector=chosen["BILLING_DKIM_SELECTOR"],
            dkim_domain=chosen["BILLING_DKIM_DOMAIN"],
        )
    )
    assert signer
    records = {}
    for line in lines:
        if "IN TXT" in line:
            name, _, value = line.partition(". IN TXT ")
            records[name] = value.strip("() ").replace('" "', "").strip('"')
            assert max(map(len, value.split('"'))) <= 255
    assert records["example.com"] == "v=spf1 a:relay.example.net mx -all"
    assert records["_dmarc.example.com"].startswith("v=DMARC1; p=none;")
    signed = signer.signed(E_MAILS["plain"])
    assert [verified(signed, number, records) for number in range(2)] == [True, True]
    before = {file: file.read_bytes() for file in files}
    with pytest.raises(SettingsError, match="already"):
        new_keys(settings(var=tmp_path), NOW, None)
    assert {file: file.read_bytes() for file in files} == before


def test_keys_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    def pem(name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
        file = tmp_path / name
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(file)

    wrong = pem("p256.pem", ec.generate_private_key(ec.SECP256R1()))
    good = pem("rsa.pem", rsa.generate_private_key(65537, 2048))
    (tmp_path / "text").write_text("no key")
    for changes, problem in (
        ({"dkim_key": wrong, "dkim_selector": "a"}, "neither an RSA key"),
        ({"dkim_key": str(tmp_path / "text"), "dkim_selector": "a"}, "no private key in PEM"),
        ({"dkim_key": str(tmp_path / "none"), "dkim_selector": "a"}, "No such file"),
        ({"dkim_key": good}, "a selector of its own"),
        ({"dkim_key": f"{good},{good}", "dkim_selector": "a,a"}, "a selector of its own"),
        ({"dkim_key": good, "dkim_selector": "a b"}, "letters, digits"),
        ({"dkim_key": good, "dkim_selector": "a", "dkim_domain": "a;b"}, "name in ASCII"),
    ):
        with pytest.raises(SettingsError, match=problem):
            dkim_signer(settings(**changes))
    assert dkim_signer(settings()) is None


def test_large_e_mails_are_signed_too() -> None:
    content = E_MAILS["plain"] + b"x" * 70 + (b"\r\n" + b"y" * 70) * 1000
    assert verified(SIGNER.signed(content), 0)


async def test_signing_waits_for_nobody(mail_server: MailServer) -> None:
    gate = mail_server.gates["DATA"] = asyncio.Event()
    async with mailing(mail_server.url) as smtp:
        mailer = SigningMailer(smtp, SIGNER)
        mail = MESSAGES.invitation(DELIVERY)
        sending = [
            asyncio.create_task(mailer.send(replace(mail, recipient=f"{n}@example.com")))
            for n in range(2)
        ]
        await mail_server.until(2, "DATA")
        gate.set()
        await asyncio.gather(*sending)
        await mailer.close()
