import json
import os
import uuid
from pathlib import Path

import yandexcloud
from yandex.cloud.billing.v1.customer_pb2 import Customer, CustomerPerson
from yandex.cloud.billing.v1.customer_service_pb2 import (
    CustomerMetadata,
    InviteCustomerRequest,
)
from yandex.cloud.billing.v1.customer_service_pb2_grpc import CustomerServiceStub

dev = json.loads(Path(os.environ.get("BILLING_VAR", "var"), "dev.json").read_text())
sdk = yandexcloud.SDK(
    endpoint=dev["rest_tls"].removeprefix("https://"),
    root_certificates=Path(dev["ca"]).read_bytes(),
    service_account_key=json.loads(Path(dev["serviceAccountKey"]).read_text()),
)
operation = sdk.client(CustomerServiceStub).Invite(
    InviteCustomerRequest(
        reseller_id=dev["resellerId"],
        name="Horns and Hooves",
        invitation_email=f"ostap-{uuid.uuid4()}@example.com",
        person=CustomerPerson(name="Ostap", phone="+7 495 123-45-67"),
    )
)
result = sdk.wait_operation_and_get_result(
    operation, response_type=Customer, meta_type=CustomerMetadata
)
print("customer", result.response.id, "of reseller", result.meta.reseller_id)
