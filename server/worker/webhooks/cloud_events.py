"""Bodies of deliveries: CloudEvents 1.0 (https://cloudevents.io) in structured JSON."""

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from server.domain.events import Event

# The same event goes to several webhooks, at about the same time.
_MOST_KEPT = 256


class CloudEvents:
    """Makes bodies. `address` is where the API is reached, as `https://host[:port]`.

    `event_json` gives what the API shows of an event.
    """

    def __init__(self, address: str, event_json: Callable[[Event], dict[str, Any]]) -> None:
        self._address = address
        self._event_json = event_json
        self._kept: OrderedDict[tuple[str, int], str] = OrderedDict()

    def body(self, event: Event) -> str:
        """Returns the body of each delivery of an event."""
        key = event.reseller_id, event.number
        body = self._kept.get(key)
        if body is None:
            body = self._kept[key] = self._made(event)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return body

    def _made(self, event: Event) -> str:
        data = self._event_json(event)
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": event.id,
            "source": f"{self._address}/v1/resellers/{event.reseller_id}",
            "type": f"billing.{event.type}.v1",
        }
        if data.get("customer"):
            attributes["subject"] = data["customer"]
        attributes |= {
            "time": data["createTime"],
            "datacontenttype": "application/json",
            # As in the extension of this name: sorts as text.
            "sequence": f"{event.number:012d}",
            "data": data,
        }
        return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
