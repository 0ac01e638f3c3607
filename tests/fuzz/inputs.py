"""What is sent: one input of any family, and its form as a file that can be sent again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Header = tuple[bytes, bytes]
Transport = Literal["rest-h1", "rest-h2", "grpc", "grpc-direct", "raw-h1", "raw-h2"]


@dataclass(frozen=True)
class Input:
    """One request, or for the raw transports bytes that may be several or none.

    `transport` is how it gets in: REST or native gRPC through Envoy, gRPC straight to the server, bytes
    on a connection to Envoy. `method` is the full name of the gRPC method that is meant, if any.
    Headers begin with HTTP/2's pseudo-headers. `deadline_s` is what the caller asks for.
    """

    transport: Transport
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    method: str = ""
    deadline_s: float | None = None

    def header(self, name: bytes) -> bytes:
        """Returns a header's first value, b"" where there is none."""
        return next((value for key, value in self.headers if key == name), b"")

    def to_json(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """Returns it with each byte as one character, and names in place of what they stand for."""

        def hide(part: bytes) -> str:
            text = part.decode("latin-1")
            for name, value in secrets.items():
                text = text.replace(value, name)
            return text

        return {
            **asdict(self),
            "body": hide(self.body),
            "headers": [[hide(key), hide(value)] for key, value in self.headers],
        }

    @classmethod
    def from_json(cls, stored: str, secrets: Mapping[str, str]) -> Self:
        """Reads what `to_json` wrote, for a service where the names stand for other values."""
        values = json.loads(stored)

        def show(text: str) -> bytes:
            for name, value in secrets.items():
                text = text.replace(name, value)
            return text.encode("latin-1")

        values["body"] = show(values["body"])
        values["headers"] = tuple((show(key), show(value)) for key, value in values["headers"])
        return cls(**values)


@dataclass(frozen=True)
class Known:
    """What there is in the service that inputs can name."""

    token: str
    reseller_id: str
    operation_ids: tuple[str, ...]
    customer_ids: tuple[str, ...]
    invitation_ids: tuple[str, ...]
    event_ids: tuple[str, ...]
    webhook_ids: tuple[str, ...]
    link_tokens: tuple[str, ...]
    jwt: str
    iam_token: str

    @property
    def names(self) -> dict[str, list[str]]:
        """Returns resource names by the type that google.api.resource_reference gives them."""
        parent = f"resellers/{self.reseller_id}"
        return {
            "billing.example.com/Customer": [
                f"{parent}/customers/{one}" for one in self.customer_ids
            ],
            "billing.example.com/Invitation": [
                f"{parent}/invitations/{one}" for one in self.invitation_ids
            ],
            "billing.example.com/Event": [f"{parent}/events/{one}" for one in self.event_ids],
            "billing.example.com/Webhook": [f"{parent}/webhooks/{one}" for one in self.webhook_ids],
            "": [parent],
        }

    @property
    def secrets(self) -> dict[str, str]:
        """Names for the values that differ from service to service."""
        listed = {
            "OPERATION": self.operation_ids,
            "CUSTOMER": self.customer_ids,
            "INVITATION": self.invitation_ids,
            "EVENT": self.event_ids,
            "WEBHOOK": self.webhook_ids,
            "LINK": self.link_tokens,
        }
        return {
            "{JWT}": self.jwt,
            "{IAM_TOKEN}": self.iam_token,
            "{TOKEN}": self.token,
            "{RESELLER}": self.reseller_id,
            **{
                f"{{{kind}_{at}}}": value
                for kind, values in listed.items()
                for at, value in enumerate(values)
            },
        }
