"""The certificate that Envoy shows, and the CA that vouches for it on this machine."""

import datetime
import ipaddress
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from files.private import make_private_folder, replace_private

_CA_LIFETIME = datetime.timedelta(days=3650)
# What browsers accept at most.
_LIFETIME = datetime.timedelta(days=397)
_RENEW_BEFORE = datetime.timedelta(days=30)
_NAMES = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: what clients trust, what Envoy shows (whole chain), its key."""

    ca: Path
    certificate: Path
    private_key: Path


def ensure_certificates(folder: Path) -> Certificates:
    """Makes what is missing or expires within 30 days; all is for its owner alone."""
    make_private_folder(folder, with_contents=True)
    files = Certificates(folder / "ca.pem", folder / "localhost.pem", folder / "localhost.key")
    ca_key_file = folder / "ca.key"
    if not (ca_key_file.exists() and _is_fresh(files.ca)):
        _make_ca(files.ca, ca_key_file)
        files.certificate.unlink(missing_ok=True)
    if not (files.private_key.exists() and _is_fresh(files.certificate)):
        _make_certificate(files, ca_key_file)
    write_secret_config(folder / "sds.json", files.certificate, files.private_key)
    return files


def write_secret_config(file: Path, certificate: Path, private_key: Path) -> None:
    """Hands both to Envoy in one file that it watches (SDS), so that it never sees half a renewal.

    Raises OSError (or its subclass ssl.SSLError) where they can't be read or do not belong together.
    """
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        certificate, private_key, password=""
    )
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "certificate",
        "tls_certificate": {
            "certificate_chain": {"inline_string": _text(certificate)},
            "private_key": {"inline_string": _text(private_key)},
        },
    }
    replace_private(file, json.dumps({"resources": [secret]}).encode())


def _text(file: Path) -> str:
    """Returns a PEM file; what stands between its parts may be in any encoding."""
    return file.read_text(errors="replace")


def _is_fresh(file: Path) -> bool:
    if not file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return certificate.not_valid_after_utc > _now() + _RENEW_BEFORE


def _make_ca(file: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Billing on this machine")])
    certificate = (
        _builder(name, name, key.public_key(), _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    replace_private(file, certificate.public_bytes(serialization.Encoding.PEM))


def _make_certificate(files: Certificates, ca_key_file: Path) -> None:
    ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
    ca_key = serialization.load_pem_private_key(ca_key_file.read_bytes(), password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{ca_key_file} is not a key that was made here")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        _builder(ca.subject, name, key.public_key(), _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(files.private_key, key)
    chain = [certificate, ca]
    replace_private(
        files.certificate,
        b"".join(part.public_bytes(serialization.Encoding.PEM) for part in chain),
    )


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks that lag a little still take it.
        .not_valid_before(_now() - datetime.timedelta(hours=1))
        .not_valid_after(_now() + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    replace_private(file, pem)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
