"""TLS with the certificates of the first run; a renewed one is shown without a restart."""

import asyncio
import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from gateway.certificates import Certificates, ensure_certificates
from tests.gateway.conftest import TOKEN, GatewayHarness, running
from tests.gateway.test_answers import GET
from tests.gateway.test_native import unary

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


async def shown(harness: GatewayHarness, host: str, context: ssl.SSLContext) -> bytes:
    """Returns the certificate that Envoy shows to a client that asks for `host`."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", harness.settings.https_port, ssl=context, server_hostname=host
    )
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(found, bytes)
        return found
    finally:
        writer.close()


@pytest.mark.parametrize("http2", [False, True])
async def test_rest_is_served_over_tls(harness: GatewayHarness, http2: bool) -> None:
    async with httpx.AsyncClient(
        base_url=harness.rest_tls, verify=trusting(harness.certificates), http2=http2
    ) as rest:
        response = await rest.get("/operations/a")
    assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert response.status_code == 200
    (call,) = harness.upstream.calls
    assert call.metadata["x-forwarded-host"] == f"localhost:{harness.settings.https_port}"


@pytest.mark.parametrize("http2", [False, True])
async def test_browsers_forget_that_localhost_was_strict(
    harness: GatewayHarness, http2: bool
) -> None:
    """They keep it for all ports, so nothing else could be developed there without TLS."""
    async with httpx.AsyncClient(verify=trusting(harness.certificates), http2=http2) as rest:
        for path in ("/operations/a", "/unknown", "/openapi.json"):
            answer = await rest.get(harness.rest_tls + path)
            assert answer.headers["strict-transport-security"] == "max-age=0", path


@pytest.mark.parametrize("http2", [False, True])
async def test_who_came_by_tls_is_told_to_stay(tmp_path: Path, http2: bool) -> None:
    """Whoever answers: the server, a filter, a route, or Envoy before any of them."""
    made = ensure_certificates(tmp_path / "given")
    given: dict[str, Any] = {"certificate": made.certificate, "private_key": made.private_key}
    async with running(tmp_path / "var", **given) as harness:
        await _told_to_stay(harness, made, http2)


async def _told_to_stay(harness: GatewayHarness, certificates: Certificates, http2: bool) -> None:
    header = "strict-transport-security"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/operations/a", {}),
        ("GET", "/unknown", {}),
        ("PUT", "/operations/a", {}),
        ("GET", "/openapi.json", {}),
        ("POST", "/billing/v1/customers:invite", {"content": b"{"}),
        ("POST", "/billing/v1/customers:invite", {"content": bytes(80 << 10)}),
        ("GET", "/operations/a", {"headers": {"x": "x" * (36 << 10)}}),
        ("GET", "/operations/a?operationId=b", {}),
    ]
    async with httpx.AsyncClient(verify=trusting(certificates), http2=http2) as rest:
        for verb, path, more in asked:
            told = await rest.request(verb, harness.rest_tls + path, **more)
            assert told.headers[header] == "max-age=31536000", (verb, path, told.status_code)
            untold = await rest.request(verb, harness.rest + path, **more)
            assert header not in untold.headers


async def test_answers_about_tokens_are_not_to_be_cached(harness: GatewayHarness) -> None:
    async with httpx.AsyncClient(base_url=harness.rest) as rest:
        for path in ("/iam/v1/tokens", "/iam/v1/tokens:revoke"):
            for body in (b"{}", b"{"):
                answer = await rest.post(path, content=body)
                assert answer.headers["cache-control"] == "no-store", answer.text


EMPTY = bytes(5)
FORMS = {
    "Connect in JSON": (b"{}", {"content-type": "application/json"}),
    "Connect": (b"", {"content-type": "application/proto", "connect-protocol-version": "1"}),
    "gRPC-Web": (EMPTY, {"content-type": "application/grpc-web+proto"}),
    "gRPC-Web in text": (base64.b64encode(EMPTY), {"content-type": "application/grpc-web-text"}),
}


@pytest.mark.parametrize(("body", "headers"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    "method",
    [
        "yandex.cloud.iam.v1.IamTokenService/Create",
        "billing.v1.InvitationService/CreateInvitationLink",
        "billing.v1.WebhookService/CreateWebhook",
        "billing.v1.WebhookService/RotateWebhookSecret",
    ],
)
async def test_answers_with_secrets_are_not_to_be_cached_by_any_protocol(
    harness: GatewayHarness, method: str, body: bytes, headers: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=harness.rest, headers={**TOKEN, **headers}) as web:
        answer = await web.post(f"/{method}", content=body)
        assert answer.headers["cache-control"] == "no-store", answer.text


async def test_grpc_is_served_over_tls(harness: GatewayHarness) -> None:
    credentials = grpc.ssl_channel_credentials(harness.certificates.ca.read_bytes())
    address = f"localhost:{harness.settings.https_port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        await unary(channel, GET)(b"", metadata=(("x-forwarded-host", "elsewhere"),))
    assert harness.upstream.calls[0].metadata["x-forwarded-host"] == address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
async def test_the_certificate_is_good_for_each_name_of_the_machine(
    harness: GatewayHarness, host: str
) -> None:
    assert await shown(harness, host, trusting(harness.certificates))


@pytest.mark.parametrize(
    ("context", "host", "why"),
    [
        (not_trusting, "localhost", "unable to get local issuer certificate|self-signed"),
        (trusting, "example.com", "Hostname mismatch"),
        (old_tls, "localhost", "alert protocol version"),
    ],
)
async def test_untrusted_misnamed_and_old_tls_is_refused(
    harness: GatewayHarness, context: Callable[[Certificates], ssl.SSLContext], host: str, why: str
) -> None:
    with pytest.raises(ssl.SSLError, match=why):
        await shown(harness, host, context(harness.certificates))


def move_over(old: Path, new: Path) -> None:
    """What most tools do."""
    copy = old.with_suffix(".new")
    copy.write_bytes(new.read_bytes())
    copy.replace(old)


def write_into(old: Path, new: Path) -> None:
    old.write_bytes(new.read_bytes())


def link_anew(old: Path, new: Path) -> None:
    """What certbot does."""
    old.unlink()
    old.symlink_to(new)


@pytest.mark.parametrize("replace", [move_over, write_into, link_anew])
async def test_a_renewed_certificate_is_shown(
    tmp_path: Path, replace: Callable[[Path, Path], None]
) -> None:
    renewed = ensure_certificates(tmp_path / "renewed")
    async with running(tmp_path) as harness:
        old = harness.certificates
        before = await shown(harness, "localhost", trusting(old))
        replace(old.certificate, renewed.certificate)
        replace(old.private_key, renewed.private_key)
        async with asyncio.timeout(20):
            while True:
                try:
                    after = await shown(harness, "localhost", trusting(renewed))
                    break
                except ssl.SSLCertVerificationError:
                    continue
        assert after != before
        async with httpx.AsyncClient(base_url=harness.rest_tls, verify=trusting(renewed)) as rest:
            assert (await rest.get("/operations/a")).status_code == 200


async def test_half_a_renewal_changes_nothing(tmp_path: Path) -> None:
    """A certificate whose key has not come yet is not shown; the two are, once both are there."""
    renewed = ensure_certificates(tmp_path / "renewed")
    async with running(tmp_path) as harness:
        old = harness.certificates
        move_over(old.certificate, renewed.certificate)
        with pytest.raises(OSError, match="mismatch"):
            harness.gateway._write_certificate()
        assert await shown(harness, "localhost", trusting(old))
