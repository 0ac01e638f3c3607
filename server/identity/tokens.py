"""IAM tokens: JSON Web Tokens that the service signs for itself, and those of an outside issuer."""

import secrets
from datetime import datetime

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.domain.access import VerifiedToken
from server.identity.claims import TokenError, header, identifier, signed_part_hash, verified
from server.identity.key_ring import LONGEST_LIFE, KeyRing
from server.identity.oidc import OidcIssuer
from server.telemetry.metrics import TOKENS_ISSUED

_ALGORITHM = "EdDSA"


class Tokens:
    """Makes tokens and checks them."""

    def __init__(self, ring: KeyRing, oidc: OidcIssuer | None = None) -> None:
        self._ring = ring
        self._oidc = oidc
        # A token with an unknown key is checked against this one, to take as long as any other.
        self._dummy_key = Ed25519PrivateKey.generate().public_key()

    def issue(self, subject_id: str, key_id: str, now: datetime) -> tuple[str, datetime]:
        """Returns a token for a subject that proved itself by its key, and when it ends.

        Raises KeyRingError where no key is left to sign with.
        """
        key = self._ring.signing()
        issued_at = now.replace(microsecond=0)
        ends_at = issued_at + LONGEST_LIFE
        claims = {
            "sub": subject_id,
            "iat": issued_at,
            "exp": ends_at,
            "jti": secrets.token_urlsafe(16),
            "key_id": key_id,
        }
        TOKENS_ISSUED.inc()
        return jwt.encode(claims, key.private, _ALGORITHM, {"kid": key.id}), ends_at

    def page_keys(self, at_once: bool) -> list[bytes]:
        """Returns keys for the MACs of page tokens: see KeyRing.secrets."""
        return self._ring.secrets(b"page tokens", at_once=at_once)

    async def check(self, token: str, now: datetime) -> VerifiedToken:
        """Returns what a token proves; checks one signature, whatever it is given.

        Raises TokenError.
        """
        try:
            described = header(token)
        except TokenError:
            self._check_dummy(token)
            raise
        if described.get("alg") == _ALGORITHM:
            key = self._ring.verifying(described.get("kid", ""))
            if key:
                claims, ends_at = verified(token, key, [_ALGORITHM], now)
                subject, by = identifier(claims, "sub"), identifier(claims, "key_id")
                return VerifiedToken(signed_part_hash(token), subject, by, ends_at)
        if self._oidc:
            oidc_key = await self._oidc.key(described)
            if oidc_key:
                return self._oidc.proof(token, oidc_key, now)
        self._check_dummy(token)
        raise TokenError("unknown key or algorithm")

    def forget_keys(self) -> None:
        """Has the next token checked, or signed, with the keys that there are by then."""
        self._ring.forget()

    def _check_dummy(self, token: str) -> None:
        try:
            self._dummy_key.verify(bytes(64), token.encode())
        except InvalidSignature:
            return
