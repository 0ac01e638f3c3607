"""Exchanging proofs of identity for IAM tokens."""

import logging
from collections.abc import Callable
from datetime import datetime

from yandex.cloud.iam.v1 import iam_token_service_pb2

from server.domain.access import hash_token
from server.domain.errors import BillingError, FieldViolation, Reason, invalid_fields
from server.identity.assertions import Assertions
from server.identity.claims import TokenError
from server.identity.key_ring import KeyRingError
from server.identity.tokens import Tokens
from server.rpc.messages.operations import timestamp
from server.rpc.pipeline.call_context import CallContext
from server.storage.access_interface import AccessStorage

_log = logging.getLogger(__name__)

_FIELDS = ("jwt", "yandex_passport_oauth_token")


class IamTokenService:
    """yandex.cloud.iam.v1.IamTokenService."""

    def __init__(
        self,
        storage: AccessStorage,
        tokens: Tokens,
        assertions: Assertions,
        clock: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._tokens = tokens
        self._assertions = assertions
        self._clock = clock

    async def Create(
        self, request: iam_token_service_pb2.CreateIamTokenRequest, _call: CallContext
    ) -> iam_token_service_pb2.CreateIamTokenResponse:
        if request.yandex_passport_oauth_token:
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "This service does not know OAuth tokens: send a JWT signed with a service account's "
                "key.",
            )
        if not request.jwt:
            raise invalid_fields(
                *(FieldViolation(field, "One of the two is required.") for field in _FIELDS)
            )
        now = self._clock()
        key = await self._storage.get_account_key(self._assertions.key_id(request.jwt))
        try:
            key = self._assertions.check(request.jwt, key, now)
        except TokenError as error:
            _log.info("assertion refused: %s", error)
            raise _assertion_invalid() from None
        try:
            token, ends_at = self._tokens.issue(key.service_account_id, key.id, now)
        except KeyRingError as error:
            _log.error("no token was made: %s", error)
            raise _no_signing_key() from None
        return iam_token_service_pb2.CreateIamTokenResponse(
            iam_token=token, expires_at=timestamp(ends_at)
        )

    async def Revoke(
        self, request: iam_token_service_pb2.RevokeIamTokenRequest, _call: CallContext
    ) -> iam_token_service_pb2.RevokeIamTokenResponse:
        """Makes a token useless; holding it is the right to do so. Repeating it changes nothing."""
        now = self._clock()
        subject_id: str | None
        try:
            proof = await self._tokens.check(request.iam_token, now)
        except TokenError:
            subject_id = await self._storage.end_access_token(hash_token(request.iam_token), now)
        else:
            await self._storage.revoke_token(proof)
            subject_id = proof.subject_id
        if subject_id is None:
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "The token to revoke is not valid, or no longer: nobody can call with it, and there "
                "is nothing left to do.",
            )
        return iam_token_service_pb2.RevokeIamTokenResponse(subject_id=subject_id)


def _assertion_invalid() -> BillingError:
    """Returns the refusal of a signed request, which never tells what was wrong with it."""
    return BillingError(
        Reason.CREDENTIALS_INVALID,
        "The JWT is not accepted. Check all that can be wrong with one: the clock of the machine "
        "that signed it (`iat` must not lie ahead, nor `exp` behind); its life, from `iat` to `exp`, of "
        "an hour at most; `aud`, which is https://iam.HOST:PORT/iam/v1/tokens of this service; `kid`, "
        "the ID of a key that was not removed; `iss`, the ID of that key's service account; the "
        "algorithm PS256; and that key's signature.",
    )


def _no_signing_key() -> BillingError:
    return BillingError(
        Reason.SIGNING_KEY_MISSING,
        "The service has no key to sign tokens with; whoever runs it makes one with "
        "`iam-keys rotate`. Try again then.",
        retry_after_s=60.0,
    )
