"""Signs e-mails by DKIM (RFC 6376; Ed25519 by RFC 8463), each with all of the keys.

dkimpy makes the signatures. Its own RSA is written in Python and takes 6 ms for an e-mail, so that
what signs the hash in the end is OpenSSL.
"""

import asyncio
import base64
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from server.worker.mail.mailer import Mail, Mailer

# Verifiers need not accept fewer bits (RFC 8301 section 3.2).
_FEWEST_BITS = 1024
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# What nobody may add on the way, or say twice, beside what is there (RFC 6376 section 5.4.2).
_ALSO_UNSAID = (b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"message-id")
# What dkimpy would not sign by itself; the latter two by RFC 8058 section 4.
_MORE_HEADERS = (
    b"content-language",
    b"auto-submitted",
    b"list-unsubscribe-post",
    b"list-unsubscribe",
)


class DkimSettingError(ValueError):
    """A key, selector or domain that can't be used; one line that says why."""


class _Signed(NamedTuple):
    """A signature as dkimpy takes it from an Ed25519 key."""

    signature: bytes


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key and the selector under which DNS has its public half."""

    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> bytes:
        """What stands in the signature's tag `a`."""
        return b"rsa-sha256" if isinstance(self.key, RSAPrivateKey) else b"ed25519-sha256"

    @property
    def dns_value(self) -> str:
        """The TXT record of `selector._domainkey.domain`."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            kind, form = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, form = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={base64.b64encode(form).decode()}"

    def sign(self, digest: bytes) -> _Signed:
        """Signs a SHA-256 digest."""
        if isinstance(self.key, RSAPrivateKey):
            return _Signed(self.key.sign(digest, PKCS1v15(), Prehashed(SHA256())))
        return _Signed(self.key.sign(digest))


def read_keys(files: Sequence[str], selectors: Sequence[str]) -> list[DkimKey]:
    """Reads PEM files with a key each, of the selectors in the same order.

    Raises DkimSettingError.
    """
    if len(files) != len(selectors) or len(set(selectors)) != len(selectors):
        raise DkimSettingError("give each key a selector of its own, in the order of the keys")
    for selector in selectors:
        if not _NAME.fullmatch(selector):
            raise DkimSettingError("a selector is of letters, digits and -, like 2026-11")
    return [
        DkimKey(selector, _read(Path(file)))
        for file, selector in zip(files, selectors, strict=True)
    ]


def _read(file: Path) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.expanduser().read_bytes(), None)
    except OSError as error:
        raise DkimSettingError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise DkimSettingError(f"{file} is no private key in PEM without a password") from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _FEWEST_BITS:
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise DkimSettingError(f"{file} is neither an RSA key of 1024 bits or more nor Ed25519")


class Signer:
    """Signs e-mails for a domain, which should be that of From. Raises DkimSettingError."""

    def __init__(self, keys: Sequence[DkimKey], domain: str) -> None:
        if not _NAME.fullmatch(domain):
            raise DkimSettingError("the domain must be a name in ASCII, like example.com")
        self._keys = keys
        self._domain = domain.lower().encode()

    def signed(self, content: bytes) -> bytes:
        """Returns the e-mail with a signature of each key in front."""
        message = _Message(content)
        signatures = [message.signature(key, self._domain) for key in self._keys]
        return b"".join([*signatures, content])


class _Message(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """An e-mail, parsed once for all keys."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.should_sign |= set(_MORE_HEADERS)
        self._key: DkimKey | None = None

    def signature(self, key: DkimKey, domain: bytes) -> bytes:
        """Returns the header DKIM-Signature by a key."""
        self._key = key
        signed = [name.lower() for name in self.default_sign_headers() if name.lower() != b"from"]
        header: bytes = self.sign(
            key.selector.encode(),
            domain,
            _NO_KEY,
            signature_algorithm=_ASKS_KEY,
            # Servers on the way may change white space in headers and at the ends of lines.
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[b"from", *signed, *_ALSO_UNSAID],
        )
        return header

    def gen_header(self, fields: Any, *rest: Any, **named: Any) -> Any:
        """Has the key sign instead of what `sign` has made of `_NO_KEY`."""
        assert self._key  # noqa: S101 - `signature` sets it
        fields = [(tag, self._key.algorithm if tag == b"a" else value) for tag, value in fields]
        headers, policy, name, _ = rest
        return super().gen_header(fields, headers, policy, name, self._key, **named)


# With this algorithm dkimpy asks an object for the signature of the hash.
_ASKS_KEY = b"ed25519-sha256"
_NO_KEY = base64.b64encode(bytes(32))


class SigningMailer:
    """A Mailer that signs what another sends, in a thread of its own."""

    def __init__(self, mailer: Mailer, signer: Signer) -> None:
        self._mailer = mailer
        self._signer = signer
        self._thread = ThreadPoolExecutor(1, "dkim")

    async def send(self, mail: Mail) -> None:
        """Signs and sends; see Mailer."""
        loop = asyncio.get_running_loop()
        signed = await loop.run_in_executor(self._thread, self._signer.signed, mail.content)
        await self._mailer.send(replace(mail, content=signed))

    async def close(self) -> None:
        """Gives connections and thread back."""
        await self._mailer.close()
        self._thread.shutdown(wait=False)
