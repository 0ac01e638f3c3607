"""billing.sandbox.v1.SandboxService."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar, NoReturn

from billing.sandbox.v1 import sandbox_service_pb2 as messages

from server.clock import now
from server.domain import ids
from server.domain.access import Permission, Role, hash_token
from server.domain.errors import BillingError, FieldViolation, Reason
from server.rpc.messages.durations import require_parts
from server.rpc.messages.timestamps import timestamp
from server.rpc.pipeline.call_context import CallContext
from server.sandbox.clock import SandboxClock
from server.sandbox.emails import Email, Emails
from server.sandbox.winding import Winding
from server.storage.interface import Storage

_BY = "sandbox"
_NAME = "Sandbox reseller"
_LONGEST = timedelta(days=366)


class SandboxService:
    """What tests of programs that call the service need beside it."""

    def __init__(
        self, storage: Storage, clock: SandboxClock, winding: Winding, emails: Emails
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._winding = winding
        self._emails = emails

    async def CreateReseller(  # noqa: N802 - the RPC's name
        self, request: messages.CreateResellerRequest, _: CallContext
    ) -> messages.CreateResellerResponse:
        administration = self._storage.administration
        reseller_id, subject_id = (
            ids.new_id(ids.BILLING_ACCOUNT),
            ids.new_id(ids.SERVICE_ACCOUNT),
        )
        token = secrets.token_urlsafe(32)
        name = request.display_name or _NAME
        await administration.add_reseller(reseller_id, name, now(), _BY)
        await administration.add_service_account(subject_id, name, now(), _BY)
        await administration.grant_role(subject_id, reseller_id, Role.OWNER, now(), _BY)
        await administration.add_access_token(hash_token(token), subject_id, now(), None)
        # Its log is empty: the events of its creation go, too.
        await self._storage.emptying.empty_reseller(reseller_id)
        return messages.CreateResellerResponse(
            reseller_id=reseller_id, token=token, service_account_id=subject_id
        )

    async def ListEmails(  # noqa: N802
        self, request: messages.ListEmailsRequest, call: CallContext
    ) -> messages.ListEmailsResponse:
        found = self._emails.to(request.to, call.caller.resellers(Permission.READ))
        return messages.ListEmailsResponse(emails=map(_message, found))

    async def GetClock(  # noqa: N802
        self, _: messages.GetClockRequest, _call: CallContext
    ) -> messages.Clock:
        return messages.Clock(time=timestamp(self._clock()))

    async def AdvanceClock(  # noqa: N802
        self, request: messages.AdvanceClockRequest, _: CallContext
    ) -> messages.Clock:
        duration = request.duration
        by = timedelta()
        try:
            require_parts(duration)
        except ValueError as error:
            raise _invalid_field("duration", str(error)) from None
        if abs(duration.seconds) <= _LONGEST.total_seconds():
            by = timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)
        if not timedelta() < by <= _LONGEST:
            raise _invalid_field(
                "duration", "Must be more than 0s and at most 31622400s (366 days)."
            )
        try:
            return messages.Clock(time=timestamp(await self._winding.advance(by)))
        except OverflowError:
            raise _invalid_field("duration", "The clock can't be wound so far on.") from None

    async def Reset(  # noqa: N802
        self, request: messages.ResetRequest, call: CallContext
    ) -> messages.ResetResponse:
        reseller_id = request.reseller_id
        if not reseller_id:
            reseller_ids = call.caller.resellers(Permission.WRITE)
            if len(reseller_ids) > 1:
                raise _invalid_field("reseller_id", "Name one: the caller has several.")
            (reseller_id,) = reseller_ids
        call.caller.require(Permission.WRITE, reseller_id)
        await self._winding.empty(reseller_id)
        self._emails.forget(reseller_id)
        return messages.ResetResponse()


class NoSandbox:
    """Stands in for the service where there are many processes, and refuses all its calls."""

    checks: ClassVar[dict[str, object]] = {}

    def __getattr__(self, _method: str) -> Callable[[object, CallContext], Awaitable[NoReturn]]:
        async def refuse(_request: object, _call: CallContext) -> NoReturn:
            raise BillingError(
                Reason.NOT_FOUND,
                "There is no sandbox: many server processes have no one clock. Start it with "
                "BILLING_WORKERS=1.",
            )

        return refuse


def _message(email: Email) -> messages.Email:
    return messages.Email(
        to=email.to,
        subject=email.subject,
        text=email.text,
        link=email.link,
        content=email.content,
    )


def _invalid_field(field: str, why: str) -> BillingError:
    return BillingError(
        Reason.FIELDS_INVALID,
        "Some fields are invalid.",
        fields=(FieldViolation(field, why),),
    )
