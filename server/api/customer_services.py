"""Both customer services over one use case."""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.v1 import customer_service_pb2 as google_customers
from google.longrunning import operations_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_pb2

from server.api.calls import Call
from server.api.operations import google_style, published
from server.api.validation import normal_address
from server.domain.access import Permission
from server.domain.invitations import invite
from server.domain.operations import Operation
from server.storage.interface import Storage


class Inviting:
    """The use case behind both styles of Invite."""

    def __init__(
        self, storage: Storage, clock: Callable[[], datetime], lifetime: timedelta
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._lifetime = lifetime

    async def invite(
        self,
        request: customers.InviteCustomerRequest | google_customers.InviteCustomerRequest,
        call: Call,
    ) -> Operation:
        """Records the invitation and returns its operation once that is durable."""
        call.caller.require(Permission.WRITE, request.reseller_id)
        new = invite(
            reseller_id=request.reseller_id,
            name=request.name,
            email=normal_address(request.invitation_email),
            person={field.name: value for field, value in request.person.ListFields()},
            invited_by=call.caller.id,
            now=self._clock(),
            lifetime=self._lifetime,
        )
        return await self._storage.create_invitation(new, call.idempotency_key)


class CustomerService:
    """yandex.cloud.billing.v1.CustomerService."""

    def __init__(self, inviting: Inviting) -> None:
        self._inviting = inviting

    async def Invite(
        self, request: customers.InviteCustomerRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(await self._inviting.invite(request, call))


class GoogleCustomerService:
    """billing.v1.CustomerService."""

    def __init__(self, inviting: Inviting) -> None:
        self._inviting = inviting

    async def InviteCustomer(
        self, request: google_customers.InviteCustomerRequest, call: Call
    ) -> operations_pb2.Operation:
        return google_style(await self._inviting.invite(request, call))
