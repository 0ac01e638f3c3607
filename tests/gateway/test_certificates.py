"""The certificates that are made on the first run, and when they are made anew."""

import datetime
import ssl
from pathlib import Path

import pytest

from gateway import certificates
from gateway.certificates import ensure_certificates


def test_certificates_are_made_once(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path / "tls")
    contents = {file: file.read_bytes() for file in (tmp_path / "tls").iterdir()}
    assert ensure_certificates(tmp_path / "tls") == first
    assert {file: file.read_bytes() for file in (tmp_path / "tls").iterdir()} == contents


def test_keys_are_the_owners_alone(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "tls")
    for key in (made.private_key, tmp_path / "tls" / "ca.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("days", "renewed_ca", "renewed_certificate"),
    [(366, False, False), (368, False, True), (3619, False, True), (3621, True, True)],
)
def test_a_certificate_is_renewed_before_it_expires(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    renewed_ca: bool,
    renewed_certificate: bool,
) -> None:
    made = ensure_certificates(tmp_path)
    ca, certificate = made.ca.read_bytes(), made.certificate.read_bytes()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    monkeypatch.setattr(certificates, "_now", lambda: later)
    ensure_certificates(tmp_path)
    assert (made.ca.read_bytes() != ca) is renewed_ca
    assert (made.certificate.read_bytes() != certificate) is renewed_certificate


def test_a_lost_key_is_replaced(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path)
    made.private_key.unlink()
    ensure_certificates(tmp_path)
    ssl.create_default_context().load_cert_chain(made.certificate, made.private_key)


def test_what_stands_between_the_parts_may_be_in_any_encoding(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path)
    made.certificate.write_bytes(
        "subject=Müller\n".encode("latin-1") + made.certificate.read_bytes()
    )
    certificates.write_secret_config(tmp_path / "sds.json", made.certificate, made.private_key)
    assert "BEGIN CERTIFICATE" in (tmp_path / "sds.json").read_text()
