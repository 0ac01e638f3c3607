"""Tokens that no library signs."""

import hashlib
import hmac
import json
from typing import Any

from jwt.utils import base64url_encode


def part(value: Any) -> str:
    """Returns a part of a token: JSON, encoded."""
    return base64url_encode(json.dumps(value).encode()).decode()


def reheaded(token: str, **header: str) -> str:
    """Returns the token with another header."""
    return ".".join([part(header), *token.split(".")[1:]])


def repaid(token: str, **claims: Any) -> str:
    """Returns the token with other claims and its old signature."""
    header, _, signature = token.split(".")
    return ".".join([header, part(claims), signature])


def hmac_signed(token: str, secret: str, **header: str) -> str:
    """Signs the token's claims with a public key as if that were a shared secret."""
    signing_input = reheaded(token, alg="HS256", **header).rpartition(".")[0]
    digest = hmac.digest(secret.encode(), signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{base64url_encode(digest).decode()}"


def broken(token: str) -> dict[str, str]:
    """Returns what can be made of a good token without a key."""
    header, payload, signature = token.split(".")
    return {
        "truncated": token[:-10],
        "signature cut off": f"{header}.{payload}.",
        "two parts": f"{header}.{payload}",
        "four parts": f"{token}.{signature}",
        "signature of zeros": f"{header}.{payload}.{'A' * len(signature)}",
        "other claims": repaid(token, sub="root", iss="root", exp=2**31),
        "no JSON": f"{'A' * 40}.{payload}.{signature}",
        "no object": f"{part([1])}.{payload}.{signature}",
        "deep": f"{base64url_encode(b'[' * 3000).decode()}.{payload}.{signature}",
        "garbage": "x" * 500,
        "dots": "...",
        "none": reheaded(token, alg="none"),
        "none without signature": reheaded(token, alg="none").rpartition(".")[0] + ".",
        "none in capitals": reheaded(token, alg="NONE"),
        "critical extension": reheaded(token, alg="EdDSA", crit="b64"),
        "unencoded payload": reheaded(token, alg="EdDSA", b64="false"),
    }
