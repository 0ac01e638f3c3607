"""What a method asks of its caller, and what its requests are about."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.protobuf.message import Message

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


class Right(Enum):
    """What a method asks of its caller."""

    MANAGE_ACCESS = "a role that may give roles"
    WRITE = "a role that may change"
    READ = "any role"
    IDENTITY = "a valid token"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Made:
    """What a request can be about, made for it alone.

    A customer, an operation that is done, and an invitation that has gone out, with its link.
    """

    reseller_id: str
    customer_id: str
    operation_id: str
    token: str
    assertion: str
    invitation_id: str
    link_token: str
    webhook_id: str = "whk00000000000000000"


NOWHERE = "bop00000000000000000"
Request = Callable[[Made], Message]


@dataclass(frozen=True)
class Method:
    """A row of the table.

    `names_thing`: the request names a customer or operation by its ID; `names_reseller`: a reseller.
    `streams`: it answers with a stream of messages, of which the first is looked at. `code` is what
    those are answered who may.
    """

    right: Right
    request: Request
    response: type[Message]
    names_thing: bool = False
    names_reseller: bool = False
    streams: bool = False
    code: grpc.StatusCode = grpc.StatusCode.OK


def invite_fields(made: Made) -> dict[str, Any]:
    return {
        "reseller_id": made.reseller_id,
        "name": "A customer",
        "invitation_email": f"{made.customer_id}@example.com",
        "person": {"name": "A person"},
    }


def named(made: Made) -> str:
    return f"operations/{made.operation_id}"


def named_invitation(made: Made) -> dict[str, str]:
    return {"name": f"resellers/{made.reseller_id}/invitations/{made.invitation_id}"}


def named_webhook(made: Made) -> dict[str, Any]:
    return {"name": f"resellers/{made.reseller_id}/webhooks/{made.webhook_id}"}


def customer_name(made: Made) -> str:
    return f"resellers/{made.reseller_id}/customers/{made.customer_id}"


def account_of(made: Made) -> str:
    """Returns the reseller's own billing account, or one that is not there."""
    return NOWHERE if made.customer_id == NOWHERE else made.reseller_id
