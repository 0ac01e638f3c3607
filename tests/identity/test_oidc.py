"""Tokens of an outside issuer whose keys, tokens and web server are real."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import ValidationError

from server.config import Settings
from server.domain.access import Role
from server.identity import oidc
from tests.identity.forged import broken, hmac_signed
from tests.identity.served import RESELLER, Served, serving

ISSUER = "https://issuer.example"
AUDIENCE = "billing"
SUBJECT = "auth0|5f7c"
HOUR = timedelta(hours=1)

RSA = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, Any] = {
    "RS256": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
_ENCODERS: dict[str, Any] = {
    "RS256": RSAAlgorithm,
    "PS256": RSAAlgorithm,
    "ES256": ECAlgorithm,
    "EdDSA": OKPAlgorithm,
}


def key_set(**keys: tuple[str, Any]) -> str:
    """Returns a JWKS of public keys: by ID, algorithm and private key."""
    return json.dumps(
        {
            "keys": [
                _ENCODERS[algorithm].to_jwk(private.public_key(), as_dict=True)
                | {"kid": key_id, "use": "sig"}
                for key_id, (algorithm, private) in keys.items()
            ]
        }
    )


KEY_SET = key_set(**{f"key-{name}": (name, private) for name, private in PRIVATE.items()})


def signed(
    served: Served, algorithm: str = "ES256", private: Any = None, key_id: str = "", **claims: Any
) -> str:
    """Returns a token as the issuer signs it; `claims` replace some, None leaves one out."""
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": served.clock(),
        "exp": served.clock() + HOUR,
    }
    payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    headers = {"kid": key_id or f"key-{algorithm}"}
    return jwt.encode(payload, private or PRIVATE[algorithm], algorithm, headers)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(KEY_SET)
    return file


def write(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.fixture
def settings(tmp_path: Path, key_file: Path) -> Settings:
    return trusting(tmp_path, str(key_file))


def trusting(folder: Path, source: str) -> Settings:
    return Settings(
        var=folder / "var",
        rate_limit=0,
        oidc_issuer=ISSUER,
        oidc_audience=AUDIENCE,
        oidc_jwks=source,
    )


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[Served]:
    async with serving(settings) as started:
        await started.storage.administration.grant_role(
            SUBJECT, RESELLER, Role.VIEWER, started.clock()
        )
        yield started


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_tokens_of_the_issuer_are_accepted(served: Served, algorithm: str) -> None:
    await served.call(signed(served, algorithm))


async def test_the_subject_has_the_roles_of_its_name(served: Served) -> None:
    another = signed(served, sub="another")
    assert (await served.refusal(another)).code() is grpc.StatusCode.PERMISSION_DENIED
    await served.storage.administration.revoke_role(SUBJECT, RESELLER, Role.VIEWER, served.clock())
    refusal = await served.refusal(signed(served))
    assert refusal.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_our_own_tokens_are_accepted_beside(served: Served) -> None:
    await served.call(await served.token(await served.account()))


async def test_bad_tokens_are_refused_alike(served: Served) -> None:
    now = served.clock()
    account = (await served.account())["service_account_id"]
    good = signed(served)
    pem = PRIVATE["ES256"].public_key()
    public = pem.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    p384 = ec.generate_private_key(ec.SECP384R1())
    bad = broken(good) | {
        "another issuer": signed(served, iss="https://evil.example"),
        "no issuer": signed(served, iss=None),
        "another audience": signed(served, aud="another"),
        "no audience": signed(served, aud=None),
        "expired": signed(served, iat=now - 2 * HOUR, exp=now - HOUR),
        "not yet valid": signed(served, nbf=now + HOUR),
        "holds for ever": signed(served, exp=None),
        "endless": signed(served, exp=float("inf")),
        "no subject": signed(served, sub=None),
        "empty subject": signed(served, sub=""),
        "subject with NUL": signed(served, sub="a\0b"),
        "subject too long": signed(served, sub="x" * 256),
        "one of our accounts": signed(served, sub=account),
        "foreign key": signed(served, private=ec.generate_private_key(ec.SECP256R1())),
        "another algorithm's key": signed(served, "EdDSA", key_id="key-ES256"),
        "another curve": signed(served, "ES384", private=p384, key_id="key-ES256"),
        "unknown key": signed(served, key_id="unknown"),
        "RS512": signed(served, "RS512", private=RSA, key_id="key-RS256"),
        "public key as secret": hmac_signed(good, public, kid="key-ES256"),
    }
    refusals = {name: await served.refusal(token) for name, token in bad.items()}
    for name, refusal in refusals.items():
        assert refusal.code() is grpc.StatusCode.UNAUTHENTICATED, name
    assert len({refusal.details() for refusal in refusals.values()}) == 1
    await served.call(good)


async def test_a_revoked_token_is_refused(served: Served) -> None:
    token = signed(served)
    await served.call(token)
    assert (await served.revoke(token, caller=token)).subject_id == SUBJECT
    assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_new_key_of_the_issuer_is_fetched(
    served: Served, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.call(signed(served))
    new = ec.generate_private_key(ec.SECP256R1())
    write(key_file, key_set(new=("ES256", new)))
    token = signed(served, private=new, key_id="new")
    # Not at once: unknown keys must not make every call read the set.
    assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED
    monkeypatch.setattr(oidc, "_RETRY_S", 0.0)
    await served.call(token)
    # The old one was withdrawn.
    refusal = await served.refusal(signed(served, jti="not seen before"))
    assert refusal.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_set_that_has_aged_is_read_again_without_waiting(
    served: Served, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.call(signed(served))
    write(key_file, key_set(new=("ES256", PRIVATE["ES256"])))
    monkeypatch.setattr(oidc, "_RETRY_S", 0.0)
    monkeypatch.setattr(oidc, "_FRESH_S", 0.0)
    async with asyncio.timeout(30):
        for number in itertools.count():
            try:
                await served.call(signed(served, jti=str(number)))
            except grpc.aio.AioRpcError:
                break
    await served.call(signed(served, key_id="new"))


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        ({}, {"RS256", "PS256"}),
        ({"alg": "RS256"}, {"RS256"}),
        ({"alg": "PS256"}, {"PS256"}),
        ({"alg": "RSA-OAEP"}, set()),
        ({"alg": None}, set()),
        ({"use": "enc"}, set()),
        ({"key_ops": ["verify"]}, {"RS256", "PS256"}),
        ({"key_ops": ["encrypt", "wrapKey"]}, set()),
    ],
)
async def test_a_key_is_used_for_what_it_says_alone(
    served: Served, key_file: Path, said: dict[str, Any], accepted: set[str]
) -> None:
    keys = json.loads(KEY_SET)["keys"]
    rsa_key = next(key for key in keys if key["kid"] == "key-RS256")
    del rsa_key["key_ops"]
    write(key_file, json.dumps({"keys": [rsa_key | {"kid": "one"} | said, keys[2]]}))
    for algorithm in ("RS256", "PS256"):
        token = signed(served, algorithm, key_id="one")
        if algorithm in accepted:
            await served.call(token)
        else:
            assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_keys_of_two_kinds_may_share_an_id(served: Served, key_file: Path) -> None:
    write(key_file, key_set(same=("ES256", PRIVATE["ES256"])))
    both = json.loads(key_set(same=("ES256", PRIVATE["ES256"])))["keys"]
    both += json.loads(key_set(same=("EdDSA", PRIVATE["EdDSA"])))["keys"]
    write(key_file, json.dumps({"keys": both}))
    for algorithm in ("ES256", "EdDSA"):
        await served.call(signed(served, algorithm, key_id="same"))


_KEY = json.dumps(json.loads(KEY_SET)["keys"][0])


@pytest.mark.parametrize(
    "broken_set",
    [
        *("", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "x"}]}'),
        *('{"keys": {}}', '{"keys": [1]}', '{"keys": [{"kty": [], "kid": "unknown"}]}'),
        '{"keys": [{"kid": ["unknown"], "kty": "RSA", "alg": []}]}',
        '{"keys": [{"kid": "unknown", "kty": "RSA", "n": 1, "e": [], "key_ops": 5}]}',
        "[" * 100_000,
        f'{{"keys": [{_KEY}], "padding": "{"x" * (1 << 20)}"}}',
        f'{{"keys": [{", ".join([_KEY] * 1001)}]}}',
    ],
    ids=range(13),
)
async def test_a_broken_key_set_leaves_the_last_one_in_force(
    served: Served, key_file: Path, monkeypatch: pytest.MonkeyPatch, broken_set: str
) -> None:
    await served.call(signed(served))
    write(key_file, broken_set)
    monkeypatch.setattr(oidc, "_RETRY_S", 0.0)
    unknown = signed(served, key_id="unknown")
    assert (await served.refusal(unknown)).code() is grpc.StatusCode.UNAUTHENTICATED
    await served.call(signed(served, jti="not seen before"))


@asynccontextmanager
async def https(
    tmp_path: Path, answer: bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serves one answer, what a function writes, or none ever; gives the URL and the requests that came."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    requests: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await over.wait()
        elif callable(answer):
            await answer(writer)
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/jwks", requests
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def ok(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def test_a_key_set_is_fetched_once_for_many_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        https(tmp_path, ok(KEY_SET)) as (url, requests),
        serving(trusting(tmp_path, url)) as served,
    ):
        await served.storage.administration.grant_role(
            SUBJECT, RESELLER, Role.VIEWER, served.clock()
        )
        tokens = [signed(served, jti=str(number)) for number in range(10)]
        await asyncio.gather(*(served.call(token) for token in tokens))
        for number in range(5):
            await served.refusal(signed(served, key_id=f"unknown-{number}"))
        assert len(requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"no HTTP",
        None,
    ],
)
async def test_an_issuer_that_does_not_answer_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(oidc, "_FETCH_S", 0.2)
    async with (
        https(tmp_path, answer) as (url, requests),
        serving(trusting(tmp_path, url)) as served,
    ):
        assert (await served.refusal(signed(served))).code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(requests) == 1
        await served.call(await served.token(await served.account()))


async def test_an_issuer_that_sends_a_byte_now_and_then_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no thread for as long as it likes, and a server's stop does not wait for it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(oidc, "_FETCH_S", 1.0)
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, ssl.SSLError):
            left.set()

    async with (
        https(tmp_path, drip) as (url, _),
        serving(trusting(tmp_path, url)) as served,
    ):
        assert (await served.refusal(signed(served))).code() is grpc.StatusCode.UNAUTHENTICATED
        async with asyncio.timeout(30):
            await left.wait()


async def test_a_key_set_of_more_than_a_mebibyte_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        https(tmp_path, ok(KEY_SET + " " * (1 << 20))) as (url, requests),
        serving(trusting(tmp_path, url)) as served,
    ):
        assert (await served.refusal(signed(served))).code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(requests) == 1


async def test_a_key_set_is_not_looked_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it leads might be without TLS, or anybody's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with https(elsewhere, ok(KEY_SET)) as (target, followed):
        leads = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        async with (
            https(tmp_path, leads.encode()) as (url, requests),
            serving(trusting(tmp_path, url)) as served,
        ):
            both = (tmp_path / "ca.pem", elsewhere / "ca.pem")
            (tmp_path / "ca.pem").write_text("".join(each.read_text() for each in both))
            assert (await served.refusal(signed(served))).code() is grpc.StatusCode.UNAUTHENTICATED
            assert (len(requests), followed) == (1, [])


async def test_few_wait_for_an_issuer_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told to come back, and callers of our own notice nothing."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        https(tmp_path, None) as (url, requests),
        serving(trusting(tmp_path, url)) as served,
    ):
        ours = await served.token(await served.account())
        made_up = [signed(served, key_id=f"made-up-{number}") for number in range(60)]
        waiting = [asyncio.create_task(served.refusal(token)) for token in made_up]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            assert task.result().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await served.call(ours)
        refused = [error.code() for error in await asyncio.gather(*waiting)]
        assert refused.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 60 - oidc._MOST_WAITING
        assert len(requests) == 1


async def test_a_certificate_dummy_key_trusts(tmp_path: Path) -> None:
    async with (
        https(tmp_path, ok(KEY_SET)) as (url, requests),
        serving(trusting(tmp_path, url)) as served,
    ):
        assert (await served.refusal(signed(served))).code() is grpc.StatusCode.UNAUTHENTICATED
        assert not requests


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks": "http://issuer.example/"},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks": "relative.json"},
    ],
)
def test_half_an_issuer_is_no_setting(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="oidc"):
        Settings(**wrong)


async def test_an_issuer_that_is_away_is_told_once(
    served: Served,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(oidc, "_RETRY_S", 0.0)
    key_file.unlink()  # noqa: ASYNC240 - at once
    for number in range(5):
        await served.refusal(signed(served, jti=f"not seen before {number}", key_id="unknown"))
    assert caplog.text.count("key set of the outside issuer not read: FileNotFoundError") == 1
