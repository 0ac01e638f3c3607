"""Things in the service that inputs can name, made for them."""

import re
from typing import Any

import httpx

from tests.fuzz.inputs import Known
from tests.service import Service, eventually

_COUNT = 4
_LINK = re.compile(r"/invitations/([\w-]+)")


def discover(service: Service) -> Known:
    """Invites a few customers, gets an IAM token, and returns everything that inputs can name."""
    bodies = [service.invitation() for _ in range(_COUNT)]
    begun = [service.invite(**body) for body in bodies]
    for operation in begun:
        service.finished(operation["id"])
    assertion = service.assertion()
    webhooks = [_webhook(service) for _ in range(_COUNT)]
    events = _get(service, f"/v1/resellers/{service.resellerId}/events?pageSize={_COUNT}")
    listed = _get(service, f"/v1/resellers/{service.resellerId}/invitations?pageSize={_COUNT}")
    return Known(
        token=service.token,
        reseller_id=service.resellerId,
        operation_ids=tuple(operation["id"] for operation in begun),
        customer_ids=tuple(operation["metadata"]["customerId"] for operation in begun),
        invitation_ids=tuple(one["name"].rpartition("/")[2] for one in listed["invitations"]),
        event_ids=tuple(one["name"].rpartition("/")[2] for one in events["events"]),
        webhook_ids=tuple(one["name"].rpartition("/")[2] for one in webhooks),
        link_tokens=tuple(_link(service, body["invitationEmail"]) for body in bodies),
        jwt=assertion,
        iam_token=_iam_token(service, assertion),
    )


def _get(service: Service, path: str) -> Any:
    answer = httpx.get(service.rest + path, headers=service.headers)
    answer.raise_for_status()
    return answer.json()


def _webhook(service: Service) -> Any:
    """Makes a webhook that nothing is sent to, unless an input enables it."""
    answer = httpx.post(
        f"{service.rest}/v1/resellers/{service.resellerId}/webhooks",
        json={"url": "http://127.0.0.1:9/", "state": "DISABLED"},
        headers=service.headers,
    )
    answer.raise_for_status()
    return answer.json()


def _link(service: Service, address: str) -> str:
    """Returns the secret in the e-mail's link."""
    mail = eventually(lambda: service.mails_to(address))[0]
    found = _LINK.search(mail.get_body(("plain",)).get_content())  # type: ignore[union-attr]
    assert found
    return found[1]


def _iam_token(service: Service, assertion: str) -> str:
    answer = httpx.post(f"{service.rest}/iam/v1/tokens", json={"jwt": assertion})
    answer.raise_for_status()
    token: str = answer.json()["iamToken"]
    return token
