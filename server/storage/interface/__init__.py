"""What the rest of the server asks of the storage: one small protocol a subject.

One method is one transaction. Every method may raise BillingError with STORAGE_UNAVAILABLE or
STORAGE_FULL (both with `retry_after_s`): then nothing was changed, or for a write whose outcome is
unknown, repeating it with the same idempotency key is safe. Writes return once they are durable.
"""

from typing import Protocol

from server.storage.interface.access import AccessStorage, Administration
from server.storage.interface.backlog import Backlog, BacklogStorage, MailProblem
from server.storage.interface.billing_accounts import BillingAccountStorage
from server.storage.interface.bounces import BounceStorage
from server.storage.interface.customers import CustomerStorage
from server.storage.interface.emptying import EmptyingStorage
from server.storage.interface.events import EventPage, EventStorage, LogBounds
from server.storage.interface.health import DatabaseClock, DatabaseProbe
from server.storage.interface.invitations import InvitationStorage
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.operations import OperationStorage, WaitStorage
from server.storage.interface.operators import (
    Found,
    FoundInvitation,
    OperatorStorage,
    WaitingMail,
)
from server.storage.interface.paging import MAX_LIST_CHARACTERS, Cursor, Listed, Part
from server.storage.interface.reminders import ReminderStorage
from server.storage.interface.retention import RetentionStorage
from server.storage.interface.suppressions import SuppressionStorage
from server.storage.interface.webhook_alerts import AlertKind, AlertStorage, WebhookAlert
from server.storage.interface.webhooks import (
    Attempt,
    DeliveryAttempt,
    DeliveryStorage,
    WebhookDelivery,
    WebhookStorage,
    WebhookWithSecret,
)
from server.storage.interface.work import MAX_DUE_AHEAD, Delivery, MailStorage

__all__ = [
    "MAX_DUE_AHEAD",
    "MAX_LIST_CHARACTERS",
    "AccessStorage",
    "Administration",
    "AlertKind",
    "AlertStorage",
    "Attempt",
    "Backlog",
    "BacklogStorage",
    "BillingAccountStorage",
    "BounceStorage",
    "Cursor",
    "CustomerStorage",
    "DatabaseClock",
    "DatabaseProbe",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStorage",
    "EmptyingStorage",
    "EventPage",
    "EventStorage",
    "Found",
    "FoundInvitation",
    "IdempotencyKey",
    "InvitationStorage",
    "Listed",
    "LogBounds",
    "MailProblem",
    "MailStorage",
    "OperationStorage",
    "OperatorStorage",
    "Part",
    "ReminderStorage",
    "RetentionStorage",
    "Storage",
    "SuppressionStorage",
    "WaitStorage",
    "WaitingMail",
    "WebhookAlert",
    "WebhookDelivery",
    "WebhookStorage",
    "WebhookWithSecret",
]


class Storage(Protocol):
    """All of it, for those who put the parts together."""

    @property
    def invitations(self) -> InvitationStorage: ...
    @property
    def backlog(self) -> BacklogStorage: ...
    @property
    def probe(self) -> DatabaseProbe: ...
    @property
    def clock(self) -> DatabaseClock: ...
    @property
    def billing_accounts(self) -> BillingAccountStorage: ...
    @property
    def customers(self) -> CustomerStorage: ...
    @property
    def operations(self) -> OperationStorage: ...
    @property
    def waits(self) -> WaitStorage: ...
    @property
    def mail(self) -> MailStorage: ...
    @property
    def reminders(self) -> ReminderStorage: ...
    @property
    def suppressions(self) -> SuppressionStorage: ...
    @property
    def bounces(self) -> BounceStorage: ...
    @property
    def events(self) -> EventStorage: ...
    @property
    def deliveries(self) -> DeliveryStorage: ...
    @property
    def alerts(self) -> AlertStorage: ...
    @property
    def retention(self) -> RetentionStorage: ...
    @property
    def access(self) -> AccessStorage: ...
    @property
    def administration(self) -> Administration: ...
    @property
    def operators(self) -> OperatorStorage: ...
    @property
    def webhooks(self) -> WebhookStorage: ...
    @property
    def emptying(self) -> EmptyingStorage: ...

    async def close(self) -> None:
        """Lets what is under way finish and gives the connections back."""
        ...
