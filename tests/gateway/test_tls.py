"""TLS with the certificates of the first run; a renewed one is shown without a restart."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
import trustme
from cryptography import x509

from gateway.certificates import Certificates
from tests.gateway.conftest import House, running
from tests.gateway.test_answers import GET
from tests.gateway.test_native import unary

pytestmark = pytest.mark.asyncio(loop_scope="session")


def serial(certificate: bytes) -> int:
    return x509.load_der_x509_certificate(certificate).serial_number


def not_trusting(_: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context()


def trusting(made: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=made.ca)


def old_tls(made: Certificates) -> ssl.SSLContext:
    context = trusting(made)
    # Lets the client's own library offer what the server is to refuse.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def shown(house: House, host: str, context: ssl.SSLContext) -> bytes:
    """Returns the certificate that Envoy shows to a client that asks for `host`."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", house.settings.https_port, ssl=context, server_hostname=host
    )
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(found, bytes)
        return found
    finally:
        writer.close()


@pytest.mark.parametrize("http2", [False, True])
async def test_rest_over_tls(house: House, http2: bool) -> None:
    async with httpx.AsyncClient(
        base_url=house.rest_tls, verify=trusting(house.certificates), http2=http2
    ) as rest:
        response = await rest.get("/operations/a")
    assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert response.status_code == 200
    (call,) = house.upstream.calls
    assert call.metadata["x-forwarded-host"] == f"localhost:{house.settings.https_port}"


async def test_grpc_over_tls(house: House) -> None:
    credentials = grpc.ssl_channel_credentials(house.certificates.ca.read_bytes())
    address = f"localhost:{house.settings.https_port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        await unary(channel, GET)(b"", metadata=(("x-forwarded-host", "elsewhere"),))
    assert house.upstream.calls[0].metadata["x-forwarded-host"] == address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
async def test_names(house: House, host: str) -> None:
    assert await shown(house, host, trusting(house.certificates))


@pytest.mark.parametrize(
    ("context", "host", "why"),
    [
        (not_trusting, "localhost", "unable to get local issuer certificate|self-signed"),
        (trusting, "example.com", "Hostname mismatch"),
        (old_tls, "localhost", "alert protocol version"),
    ],
)
async def test_refused(
    house: House, context: Callable[[Certificates], ssl.SSLContext], host: str, why: str
) -> None:
    with pytest.raises(ssl.SSLError, match=why):
        await shown(house, host, context(house.certificates))


async def test_a_renewed_certificate_is_shown(tmp_path: Path) -> None:
    """The files are replaced as an administrator's tool would: moved over the old ones."""
    async with running(tmp_path) as house:
        own = house.certificates
        before = serial(await shown(house, "localhost", trusting(own)))
        other = trustme.CA()
        renewed = other.issue_cert("localhost")
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=other.cert_pem.bytes().decode())
        for file, parts in (
            (own.private_key, [renewed.private_key_pem]),
            (own.certificate, renewed.cert_chain_pems),
        ):
            new = file.with_suffix(".new")
            new.write_bytes(b"".join(part.bytes() for part in parts))
            new.replace(file)
        async with asyncio.timeout(10):
            while True:
                try:
                    after = serial(await shown(house, "localhost", context))
                    break
                except ssl.SSLCertVerificationError:
                    continue
        assert after != before
        async with httpx.AsyncClient(base_url=house.rest_tls, verify=context) as rest:
            assert (await rest.get("/operations/a")).status_code == 200
