"""How long the gateway's certificate holds, and whether the key is its own."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from server.doctor.finding import Finding, ok, problem, warning

# Renewers act a month or a third of the life before the end: what is left then is late.
_LATE = timedelta(days=14)
_SUBJECT = "certificate"
_RENEW = "renew it; the gateway takes the new file up by itself"


def examine_certificate(certificate: Path, key: Path, now: datetime) -> Iterator[Finding]:
    """Yields how the chain's certificates and the private key stand; `now` is aware."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except OSError as error:
        yield _unreadable("BILLING_TLS_CERTIFICATE", certificate, error)
        return
    except ValueError:
        yield problem(
            _SUBJECT,
            f"{certificate} holds no certificate in PEM",
            "name the chain's file in BILLING_TLS_CERTIFICATE",
        )
        return
    for each in chain:
        yield _life(certificate, each, now)
    try:
        ours = load_pem_private_key(key.read_bytes(), None).public_key()
    except OSError as error:
        yield _unreadable("BILLING_TLS_KEY", key, error)
    except (ValueError, TypeError):
        yield problem(
            _SUBJECT,
            f"{key} is no private key in PEM without a password",
            "name the key's file in BILLING_TLS_KEY",
        )
    else:
        if ours != chain[0].public_key():
            yield problem(
                _SUBJECT,
                f"{key} is not the key of the first certificate in {certificate}",
                "name files that belong together; the server's own certificate comes first",
            )


def _life(file: Path, certificate: x509.Certificate, now: datetime) -> Finding:
    ends = certificate.not_valid_after_utc
    name = certificate.subject.rfc4514_string() or "its certificate"
    if now >= ends:
        return problem(_SUBJECT, f"{file}: {name} ended at {ends:%Y-%m-%d %H:%M} UTC", _RENEW)
    if now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        return problem(
            _SUBJECT,
            f"{file}: {name} begins at {begins:%Y-%m-%d %H:%M} UTC only",
            "look at this machine's clock, or wait",
        )
    text = f"{file}: {name} holds for {(ends - now).days} days"
    return warning(_SUBJECT, text, _RENEW) if ends - now < _LATE else ok(_SUBJECT, text)


def _unreadable(setting: str, file: Path, error: OSError) -> Finding:
    return problem(
        _SUBJECT,
        f"{file} can't be read: {error.strerror}",
        f"name a file in {setting} that the service's user can read",
    )
