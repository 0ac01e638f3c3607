"""yandex.cloud.billing.v1.BillingAccountService."""

from collections.abc import Sequence
from functools import partial

from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2 as accounts
from yandex.cloud.operation import operation_pb2

from server.domain.billing_accounts import BillingAccount
from server.domain.errors import BillingError, Reason, Resource
from server.domain.role_changes import AccessBinding
from server.rpc.messages import access_bindings, operations
from server.rpc.messages.paging import Pages
from server.rpc.messages.timestamps import set_timestamp
from server.rpc.pipeline.call_context import CallContext
from server.storage.interface import Cursor, Listed
from server.use_cases.billing_accounts import BillingAccounts

_TYPE = billing_account_pb2.BillingAccount.DESCRIPTOR.full_name
# Nothing is charged here.
_BALANCE = "0"


class BillingAccountService:
    """yandex.cloud.billing.v1.BillingAccountService over the use cases.

    All accounts are of one country and currency.
    """

    def __init__(
        self, use_cases: BillingAccounts, pages: Pages, country: str, currency: str
    ) -> None:
        self._accounts = use_cases
        self._pages = pages
        self._country = country
        self._currency = currency

    async def Get(
        self, request: accounts.GetBillingAccountRequest, call: CallContext
    ) -> billing_account_pb2.BillingAccount:
        account = await self._accounts.get(call.caller, request.id)
        if account is None:
            raise _not_found(request.id)
        return self._message(account)

    async def List(
        self, request: accounts.ListBillingAccountsRequest, call: CallContext
    ) -> accounts.ListBillingAccountsResponse:
        page, token = await self._pages.read(
            request,
            ("billing accounts", call.caller.id),
            partial(self._accounts.page, call.caller),
            self._message,
        )
        return accounts.ListBillingAccountsResponse(billing_accounts=page, next_page_token=token)

    async def ListAccessBindings(
        self, request: access_pb2.ListAccessBindingsRequest, call: CallContext
    ) -> access_pb2.ListAccessBindingsResponse:
        async def rows(limit: int, after: Cursor | None) -> Sequence[Listed[AccessBinding]]:
            found = await self._accounts.bindings(call.caller, request.resource_id, limit, after)
            if found is None:
                raise _not_found(request.resource_id)
            return found

        scope = ("access bindings", request.resource_id)
        page, token = await self._pages.read(request, scope, rows, access_bindings.to_yandex)
        return access_pb2.ListAccessBindingsResponse(access_bindings=page, next_page_token=token)

    async def UpdateAccessBindings(
        self, request: access_pb2.UpdateAccessBindingsRequest, call: CallContext
    ) -> operation_pb2.Operation:
        updated = await self._accounts.update_bindings(
            call.caller,
            request.resource_id,
            access_bindings.parse_deltas(request.access_binding_deltas),
            call.request_id,
            call.idempotency_key,
        )
        if updated is None:
            raise _not_found(request.resource_id)
        return operations.to_yandex(updated)

    def _message(self, account: BillingAccount) -> billing_account_pb2.BillingAccount:
        message = billing_account_pb2.BillingAccount(
            id=account.id,
            name=account.name,
            country_code=self._country,
            currency=self._currency,
            active=account.active,
            balance=_BALANCE,
        )
        set_timestamp(message.created_at, account.created_at)
        return message


def _not_found(account_id: str) -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such billing account; check its ID.",
        resource=Resource(_TYPE, account_id[:100]),
    )
