"""yandex.cloud.iam.v1.IamTokenService."""

from yandex.cloud.iam.v1 import iam_token_service_pb2

from server.domain.errors import BillingError, FieldViolation, Reason, invalid_fields
from server.rpc.messages.timestamps import timestamp
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.iam_tokens import IamTokens

_FIELDS = ("jwt", "yandex_passport_oauth_token")


class IamTokenService:
    """yandex.cloud.iam.v1.IamTokenService over the use cases."""

    def __init__(self, iam_tokens: IamTokens) -> None:
        self._iam_tokens = iam_tokens

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
        issued = await self._iam_tokens.create(request.jwt)
        return iam_token_service_pb2.CreateIamTokenResponse(
            iam_token=issued.token, expires_at=timestamp(issued.expires_at)
        )

    async def Revoke(
        self, request: iam_token_service_pb2.RevokeIamTokenRequest, _call: CallContext
    ) -> iam_token_service_pb2.RevokeIamTokenResponse:
        subject_id = await self._iam_tokens.revoke(request.iam_token)
        if subject_id is None:
            raise BillingError(
                Reason.CREDENTIALS_INVALID,
                "The token to revoke is not valid, or no longer: nobody can call with it, and there "
                "is nothing left to do.",
            )
        return iam_token_service_pb2.RevokeIamTokenResponse(subject_id=subject_id)
