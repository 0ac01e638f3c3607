"""Exchanging proofs of identity for IAM tokens."""

import logging
from collections.abc import Callable
from datetime import datetime

from yandex.cloud.iam.v1 import iam_token_service_pb2

from server.api.calls import Call
from server.api.identity import credentials_invalid
from server.api.operations import timestamp
from server.domain.access import hash_token
from server.domain.errors import BillingError, FieldViolation, Reason
from server.identity.assertions import Assertions
from server.identity.claims import TokenError
from server.identity.tokens import Tokens
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
        self, request: iam_token_service_pb2.CreateIamTokenRequest, _call: Call
    ) -> iam_token_service_pb2.CreateIamTokenResponse:
        if request.yandex_passport_oauth_token:
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "This service does not know OAuth tokens: send a JWT signed with a service account's "
                "key.",
            )
        if not request.jwt:
            raise BillingError(
                Reason.FIELDS_INVALID,
                "The request has fields that are not valid.",
                fields=[FieldViolation(field, "One of the two is required.") for field in _FIELDS],
            )
        now = self._clock()
        key = await self._storage.get_account_key(self._assertions.key_id(request.jwt))
        try:
            key = self._assertions.check(request.jwt, key, now)
        except TokenError as error:
            _log.info("assertion refused: %s", error)
            raise credentials_invalid() from None
        token, ends_at = self._tokens.issue(key.service_account_id, key.id, now)
        return iam_token_service_pb2.CreateIamTokenResponse(
            iam_token=token, expires_at=timestamp(ends_at)
        )

    async def Revoke(
        self, request: iam_token_service_pb2.RevokeIamTokenRequest, _call: Call
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
            raise credentials_invalid()
        return iam_token_service_pb2.RevokeIamTokenResponse(subject_id=subject_id)
