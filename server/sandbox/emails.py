"""The e-mails that the sandbox's mail server has taken, by the resellers that sent them."""

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from server.storage.interface import OperationStorage

_MAX_KEPT = 1000


@dataclass(frozen=True)
class Email:
    """An e-mail; `link` is that to its invitation's page, "" if it has none."""

    reseller_id: str
    operation_id: str
    to: str
    subject: str
    text: str
    link: str
    content: bytes


class Emails:
    """The last e-mails, oldest first. An invitation's names its operation in its Message-ID."""

    def __init__(self, operations: OperationStorage, link_prefix: str) -> None:
        self._operations = operations
        self._link = re.compile(re.escape(link_prefix) + r"[\w-]+")
        self._kept: deque[Email] = deque(maxlen=_MAX_KEPT)

    async def note(self, to: str, content: bytes) -> Email | None:
        """Keeps an e-mail; None: it is of no invitation, and not kept."""
        message = message_from_bytes(content, policy=default)
        operation_id = str(message.get("Message-ID", "")).strip("<> ").partition("@")[0]
        operation = await self._operations.get_operation(operation_id)
        if operation is None:
            return None
        text = _text(message)
        link = self._link.search(text)
        email = Email(
            *(operation.reseller_id, operation_id, to),
            *(str(message.get("Subject", "")), text),
            *(link[0] if link else "", content),
        )
        self._kept.append(email)
        return email

    def to(self, address: str, reseller_ids: Collection[str]) -> list[Email]:
        """Returns those of these resellers to an address, to any for ""."""
        return [
            each
            for each in self._kept
            if each.reseller_id in reseller_ids and address in ("", each.to)
        ]

    def forget(self, reseller_id: str) -> None:
        """Keeps those of a reseller no longer."""
        left = [each for each in self._kept if each.reseller_id != reseller_id]
        self._kept.clear()
        self._kept.extend(left)


def _text(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    return "" if part is None else str(part.get_content())
