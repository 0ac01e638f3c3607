"""What callers are answered beyond the limits of e-mails and customers."""

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from server.config import Settings
from tests.inviting import in_our_words
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request
from tests.rpc.test_invitations import DAY, detail, resend, sent

TO = "ostap@example.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path, rate_limit=0, mail_per_address_h=2, customers_per_reseller=3)


async def test_too_many_e_mails_to_one_address_are_refused_until_tomorrow(api: Api) -> None:
    made = await sent(api, invitation_email=TO)
    await sent(api, invitation_email=TO, person=customers.CustomerPerson(name="B", tin="2"))
    invite = request(invitation_email=TO, person=customers.CustomerPerson(name="C", tin="3"))
    for call in (
        api.customers.Invite(invite, metadata=api.as_("writer")),
        api.google_customers.InviteCustomer(in_our_words(invite), metadata=api.as_("writer")),
        resend(api, made.name),
    ):
        code, reason, status = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAIL_LIMIT_REACHED")
        info = detail(status, error_details_pb2.ErrorInfo)
        assert dict(info.metadata) == {"limit": "MAIL_PER_ADDRESS_H", "most": "2"}
        wait_s = detail(status, error_details_pb2.RetryInfo).retry_delay.ToTimedelta()
        assert TO not in str(status)
    api.clock.advance(wait_s)
    await resend(api, made.name)


async def test_too_many_customers_are_refused(api: Api) -> None:
    for _ in range(3):
        await sent(api)
        api.clock.advance(DAY)
    served = customers.CreateResellerServedCustomerRequest(
        reseller_id=api.reseller, name="Customer", person=customers.CustomerPerson(name="Ostap")
    )
    for call in (
        api.customers.Invite(request(), metadata=api.as_("writer")),
        api.customers.CreateResellerServed(served, metadata=api.as_("writer")),
    ):
        code, reason, status = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CUSTOMER_LIMIT_REACHED")
        info = detail(status, error_details_pb2.ErrorInfo)
        assert dict(info.metadata) == {"limit": "CUSTOMERS_PER_RESELLER", "most": "3"}
