"""`dkim new`: keys that sign e-mails, and what DNS must say so that they are believed."""

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from files.private import make_private_folder, replace_private
from server.config import Settings, SettingsError
from server.worker.mail.addresses import MessageSettingError, parse_sender
from server.worker.mail.dkim import DkimKey
from server.worker.mail.smtp_server import SmtpServer, SmtpUrlError, is_loopback

# What a character-string of a TXT record holds (RFC 1035 section 3.3.14).
_LONGEST_STRING = 255


def new_keys(settings: Settings, now: datetime, folder: Path | None) -> str:
    """Makes an RSA and an Ed25519 key in a folder, dkim in var by default; says what to do next.

    Raises SettingsError, also where there is a key of this month already.
    """
    domain = settings.dkim_domain or _sender_domain(settings)
    folder = (folder or settings.var / "dkim").absolute()
    keys = [
        DkimKey(f"{now:%Y-%m}-rsa", rsa.generate_private_key(65537, 2048)),
        # For verifiers who know it; others ignore its signature (RFC 8463).
        DkimKey(f"{now:%Y-%m}-ed25519", Ed25519PrivateKey.generate()),
    ]
    files = [folder / f"{key.selector}.pem" for key in keys]
    try:
        make_private_folder(folder)
        if any(file.exists() for file in files):
            raise SettingsError(f"{folder} has keys of {now:%Y-%m} already; nothing was changed")
        for key, file in zip(keys, files, strict=True):
            pem = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            replace_private(file, pem)
    except OSError as error:
        raise SettingsError(f"{folder} can't be written to: {error.strerror}") from None
    lines = [
        f"; DNS of {domain}: who signs, who sends, and what becomes of what is neither.",
        *(f"{key.selector}._domainkey.{domain}. IN TXT {quoted(key.dns_value)}" for key in keys),
        f"{domain}. IN TXT {quoted(_spf(settings))}",
        f"_dmarc.{domain}. IN TXT {quoted(f'v=DMARC1; p=none; rua=mailto:dmarc-reports@{domain}')}",
        "; SPF names the machines that e-mails leave for the world from: if your relay's operator",
        "; names others, those. A domain has one SPF record: add to the one that there is. Once the",
        "; reports of DMARC show that all is signed, raise p to quarantine, then to reject.",
        "",
        "# Once DNS says so, start the workers with:",
        f"BILLING_DKIM_KEY={','.join(map(str, files))}",
        f"BILLING_DKIM_SELECTOR={','.join(key.selector for key in keys)}",
        f"BILLING_DKIM_DOMAIN={domain}",
    ]
    return "\n".join(lines)


def quoted(value: str) -> str:
    """Returns the value of a TXT record as zone files have it, in strings of 255 at most."""
    parts = range(0, len(value), _LONGEST_STRING)
    strings = [f'"{value[at : at + _LONGEST_STRING]}"' for at in parts]
    return strings[0] if len(strings) == 1 else f"( {' '.join(strings)} )"


def _spf(settings: Settings) -> str:
    try:
        host = SmtpServer.from_url(settings.smtp).host
    except SmtpUrlError as error:
        raise SettingsError(f"BILLING_SMTP_URL: {error}") from None
    return "v=spf1 mx -all" if is_loopback(host) else f"v=spf1 a:{host} mx -all"


def _sender_domain(settings: Settings) -> str:
    try:
        return parse_sender(settings.mail_from)[1].rpartition("@")[2]
    except MessageSettingError as error:
        raise SettingsError(f"BILLING_MAIL_FROM: {error}") from None
