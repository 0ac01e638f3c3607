"""Sends events to a developer's machine, in the form that webhooks get them."""

import base64
import json
import secrets
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlsplit

import click
from billing.v1 import event_pb2
from google.protobuf.json_format import MessageToDict
from standardwebhooks import Webhook

from client.errors import USAGE, ClientError

_WITHIN_S = 15.0


class Forwarder:
    """Signs each event with a secret of its own, and posts it to one URL."""

    def __init__(self, url: str, endpoint: str, reseller: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ClientError(
                f"--forward-to: {url!r} is no URL like http://localhost:3000/hook", USAGE
            )
        self._url = url
        self._source = f"https://{endpoint.removesuffix(':443')}/v1/{reseller}"
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self._signer = Webhook(self.secret)

    def forward(self, event: event_pb2.Event) -> None:
        """Posts an event once, and tells what the receiver answered."""
        body = self._body(event)
        event_id = event.name.rpartition("/")[2]
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "billing-cli",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(event_id, now, body),
        }
        request = urllib.request.Request(self._url, body.encode(), headers)  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:  # noqa: S310
                told = str(answer.status)
        except urllib.error.HTTPError as error:
            told = str(error.code)
        except (OSError, ValueError) as error:
            told = f"no answer: {error}"
        click.echo(f"{event_id}\t{event.type}\t{told}")

    def _body(self, event: event_pb2.Event) -> str:
        data = MessageToDict(event, always_print_fields_with_no_presence=True)
        event_id = event.name.rpartition("/")[2]
        attributes = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._source,
            "type": f"billing.{event.type}.v1",
            **({"subject": event.customer} if event.customer else {}),
            "time": data["createTime"],
            "datacontenttype": "application/json",
            # The number at the beginning of an ID, after its three letters.
            "sequence": event_id[3:15],
            "data": data,
        }
        return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
