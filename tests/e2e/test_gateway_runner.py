"""The gateway on its own, with a certificate that somebody else issues and renews."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
import trustme
from cryptography import x509

from tests.service import ROOT, Service, environment, eventually, refusal


class GatewayProcess:
    """A running `server gateway` and the files that it serves TLS by."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "chain.pem", folder / "key.pem"
        self.renew()
        self.env = {
            **environment(folder / "var"),
            "BILLING_SERVERS": service.grpc,
            "BILLING_ADDRESS": "0.0.0.0",
            "BILLING_TLS_CERTIFICATE": str(self.certificate),
            "BILLING_TLS_KEY": str(self.key),
        }
        self.port = int(self.env["BILLING_HTTPS_PORT"])
        self.output = (folder / "output.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "gateway"],
            cwd=ROOT,
            env=self.env,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def renew(self) -> None:
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        chain = issued.cert_chain_pems[0].bytes()
        self.issued = f"{x509.load_pem_x509_certificate(chain).serial_number:X}"
        for file, pem in (
            (self.key, issued.private_key_pem.bytes()),
            (self.certificate, chain),
        ):
            fresh = file.with_suffix(".new")
            fresh.write_bytes(pem)
            fresh.replace(file)

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def serial(self) -> str:
        """Returns the serial number of the certificate that is served now."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as raw,
            self.context().wrap_socket(raw, server_hostname="localhost") as secure,
        ):
            found = secure.getpeercert()
            assert found
            return str(found["serialNumber"]).lstrip("0")

    def is_up(self) -> bool:
        assert self.process.poll() is None, Path(self.output.name).read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.output.close()


@pytest.fixture
def gateway(service: Service, tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, service) as started:
        eventually(started.is_up)
        yield started


def test_a_renewed_certificate_is_taken_up(gateway: GatewayProcess) -> None:
    first = gateway.serial()
    answer = httpx.get(f"https://localhost:{gateway.port}/endpoints", verify=gateway.context())
    assert answer.status_code == 200
    gateway.renew()
    assert first != gateway.issued
    eventually(lambda: gateway.serial() == gateway.issued)


def test_a_certificate_renewed_during_the_start_is_taken_up(
    service: Service, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, service) as starting:
        # Written just before Envoy is started, from what the files hold then.
        eventually((tmp_path / "var" / "tls" / "sds.json").exists)
        starting.renew()
        eventually(starting.is_up)
        eventually(lambda: starting.serial() == starting.issued)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(gateway: GatewayProcess, version: ssl.TLSVersion) -> None:
    context = gateway.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", gateway.port), 10) as raw,
        pytest.raises(OSError, match=r"(?i)protocol|version|alert|EOF"),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"BILLING_TLS_CERTIFICATE": "", "BILLING_TLS_KEY": ""}, "BILLING_ADDRESS"),
        ({"BILLING_TLS_CERTIFICATE": ""}, "BILLING_TLS_CERTIFICATE"),
        ({"BILLING_TLS_KEY": "/no/such/key.pem"}, "/no/such/key.pem"),
        ({"BILLING_ADDRESS": "everywhere"}, "BILLING_ADDRESS"),
        ({"BILLING_ACCESS_LOG": "/no/such/access.log"}, "/no/such/access.log can't be written"),
        ({"BILLING_ACCESS_LOG": "/"}, "the access log / can't be written: Is a directory"),
    ],
)
def test_what_the_gateway_can_not_serve_by_is_one_line(
    service: Service, tmp_path: Path, changes: dict[str, str], named: str
) -> None:
    env = {
        **environment(tmp_path / "var"),
        "BILLING_ADDRESS": "0.0.0.0",
        "BILLING_TLS_CERTIFICATE": service.ca,
        "BILLING_TLS_KEY": service.ca,
        **changes,
    }
    assert named in refusal(env, "gateway")
