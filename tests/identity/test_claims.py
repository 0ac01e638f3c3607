"""Claims that no honest signer sends: each is a refusal, whatever JSON makes of it."""

import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from server.identity.claims import TokenError, lifetime, verified

KEY = Ed25519PrivateKey.generate()
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = int(NOW.timestamp())


def signed(**changes: str) -> str:
    """Returns a token; `changes` are claims as they stand in the JSON."""
    claims = {"exp": str(AT + 600), "iat": str(AT), "nbf": str(AT), "sub": '"s"'} | changes
    payload = ",".join(f'"{name}":{value}' for name, value in claims.items())
    parts = b'{"alg":"EdDSA"}', b"{%s}" % payload.encode()
    signing_input = b".".join(map(base64url_encode, parts))
    return b".".join((signing_input, base64url_encode(KEY.sign(signing_input)))).decode()


def check(token: str) -> None:
    claims, _ = verified(token, KEY.public_key(), ["EdDSA"], NOW)
    lifetime(claims)


def test_a_token_with_ordinary_times_is_taken() -> None:
    check(signed())
    check(signed(exp=f"{AT + 600}.5", iat=f"{AT - 1}.25"))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        "1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 5000, "1e400", "-1e400", "1e308", "NaN",
        "Infinity", "-Infinity", "253402300800", "1" + "0" * 18, "true", "null", '"x"', f'"{AT + 9}"',
        "[]", "{}", "[" * 3000 + "]" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(name: str, value: str) -> None:
    token = signed(**{name: value})
    began = time.process_time()
    with pytest.raises(TokenError):
        check(token)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "changes", [{"sub": "1"}, {"sub": "[]"}, {"jti": "{}"}, {"aud": "1"}, {"aud": "[1]"}]
)
def test_claims_of_other_types_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(TokenError):
        check(signed(**changes))
