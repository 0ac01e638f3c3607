"""The official Python SDK: every call that a reseller's program makes, and those that go wrong."""

import json
import uuid
import warnings
from pathlib import Path

import grpc
import yandexcloud
from google.protobuf.empty_pb2 import Empty
from report import DEV, address, call
from yandex.cloud.access.access_pb2 import (
    AccessBinding,
    AccessBindingAction,
    AccessBindingDelta,
    ListAccessBindingsRequest,
    Subject,
    UpdateAccessBindingsMetadata,
    UpdateAccessBindingsRequest,
)
from yandex.cloud.billing.v1.billing_account_service_pb2 import (
    GetBillingAccountRequest,
    ListBillingAccountsRequest,
)
from yandex.cloud.billing.v1.billing_account_service_pb2_grpc import BillingAccountServiceStub
from yandex.cloud.billing.v1.customer_pb2 import Customer, CustomerPerson
from yandex.cloud.billing.v1.customer_service_pb2 import (
    ActivateCustomerRequest,
    CreateResellerServedCustomerRequest,
    CustomerMetadata,
    InviteCustomerRequest,
    ListCustomersRequest,
    SuspendCustomerRequest,
)
from yandex.cloud.billing.v1.customer_service_pb2_grpc import CustomerServiceStub
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

ENDPOINT = DEV["rest_tls"].removeprefix("https://")


def new_sdk(**identity):
    return yandexcloud.SDK(
        endpoint=ENDPOINT, root_certificates=Path(DEV["ca"]).read_bytes(), **identity
    )


def request(who="ostap"):
    return InviteCustomerRequest(
        reseller_id=DEV["resellerId"],
        name="Рога и копыта",
        invitation_email=address(who),
        person=CustomerPerson(name="Остап", phone="+7 495 123-45-67", tin="7707083893"),
    )


def customer_of(begun, reseller_id=DEV["resellerId"]):
    """Waits as the SDK does and checks the types of metadata and response."""
    ended = sdk.wait_operation_and_get_result(
        begun, response_type=Customer, meta_type=CustomerMetadata, timeout=60
    )
    assert ended.meta.reseller_id == reseller_id
    assert ended.meta.customer_id == ended.response.id != ""
    assert ended.response.billing_account_id
    return ended.response.id


def failure_of(begun):
    """Waits as the SDK does and returns its error's text."""
    try:
        sdk.wait_operation_and_get_result(
            begun, response_type=Customer, meta_type=CustomerMetadata, timeout=60
        )
    except yandexcloud.operations.OperationError as error:
        return error.message
    raise AssertionError("the operation did not fail")


def listed():
    ids = []
    token = ""
    while True:
        page = customers.List(
            ListCustomersRequest(reseller_id=DEV["resellerId"], page_size=2, page_token=token)
        )
        ids += [customer.id for customer in page.customers]
        token = page.next_page_token
        if not token:
            return ids


def lost_once(stub):
    """Invites where the answer to the first attempt gets lost; returns what both attempts made."""
    answer, details = stub.Invite.with_call(
        request(), metadata=(("idempotency-key", str(uuid.uuid4())),)
    )
    lost = dict(details.trailing_metadata())["x-lost-operation"]
    return answer.id, lost


sdk = new_sdk(iam_token=DEV["token"])
customers = sdk.client(CustomerServiceStub)
operations = sdk.client(OperationServiceStub)

with call("discovery"):
    endpoints = sdk.client(ApiEndpointServiceStub).List(ListApiEndpointsRequest()).endpoints
    found = {endpoint.id: endpoint.address for endpoint in endpoints}
    assert found == dict.fromkeys(("billing", "endpoint", "iam", "operation"), ENDPOINT)

with call("invite"):
    invited = customer_of(customers.Invite(request()))

with call("create"):
    created = customer_of(
        customers.CreateResellerServed(
            CreateResellerServedCustomerRequest(
                reseller_id=DEV["resellerId"], name="Геркулес", person=CustomerPerson(name="П")
            )
        )
    )

with call("list"):
    assert listed()[:2] == [created, invited]

with call("suspend"):
    for _ in range(2):
        assert customer_of(customers.Suspend(SuspendCustomerRequest(customer_id=created)))

with call("activate"):
    for _ in range(2):
        assert customer_of(customers.Activate(ActivateCustomerRequest(customer_id=created)))

with call("billing accounts"):
    accounts = sdk.client(BillingAccountServiceStub)
    shown = accounts.List(ListBillingAccountsRequest(page_size=2)).billing_accounts
    assert [account.id for account in shown] == [DEV["resellerId"], "bac" + created[3:]]
    account = accounts.Get(GetBillingAccountRequest(id=shown[1].id))
    assert account == shown[1]
    assert (account.name, account.active, account.balance) == ("Геркулес", True, "0")
    assert (account.country_code, account.currency) == ("RU", "RUB")

with call("access bindings"):
    binding = AccessBinding(
        role_id="billing.accounts.viewer", subject=Subject(id="auth0|sdk", type="userAccount")
    )
    for action, is_there in ((AccessBindingAction.ADD, True), (AccessBindingAction.REMOVE, False)):
        delta = AccessBindingDelta(action=action, access_binding=binding)
        ended = sdk.wait_operation_and_get_result(
            accounts.UpdateAccessBindings(
                UpdateAccessBindingsRequest(
                    resource_id=DEV["resellerId"], access_binding_deltas=[delta]
                )
            ),
            response_type=Empty,
            meta_type=UpdateAccessBindingsMetadata,
            timeout=60,
        )
        assert ended.meta.resource_id == DEV["resellerId"]
        there = accounts.ListAccessBindings(
            ListAccessBindingsRequest(resource_id=DEV["resellerId"])
        )
        assert (binding in there.access_bindings) == is_there
    (owner,) = [each for each in there.access_bindings if each.role_id == "billing.accounts.owner"]
    delta = AccessBindingDelta(action=AccessBindingAction.REMOVE, access_binding=owner)
    code = None
    try:
        accounts.UpdateAccessBindings(
            UpdateAccessBindingsRequest(
                resource_id=DEV["resellerId"], access_binding_deltas=[delta]
            )
        )
    except grpc.RpcError as error:
        code = error.code()
    assert code is grpc.StatusCode.FAILED_PRECONDITION

with call("failed operation"):
    assert "Error code: 9" in failure_of(customers.Invite(request("refused")))

with call("cancel"):
    begun = customers.Invite(request("later"))
    assert not begun.done
    operations.Cancel(CancelOperationRequest(operation_id=begun.id))
    assert "Error code: 1" in failure_of(begun)
    assert listed()[0] == created

with call("retry"):
    retrying = new_sdk(iam_token=DEV["token"], retry_policy=yandexcloud.RetryPolicy())
    made, lost = lost_once(retrying.client(CustomerServiceStub, endpoint=DEV["dropping"]))
    assert made == lost

with call("retry interceptor"):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        interceptor = yandexcloud.RetryInterceptor(max_retry_count=3)
    stub = sdk.client(CustomerServiceStub, interceptor=interceptor, endpoint=DEV["dropping"])
    made, lost = lost_once(stub)
    assert made == lost

with call("key file"):
    key = json.loads(Path(DEV["serviceAccountKey"]).read_text())
    with_key = new_sdk(service_account_key=key)
    assert customer_of(with_key.client(CustomerServiceStub).Invite(request()))
