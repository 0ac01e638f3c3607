"""What all requests about existing webhooks share: their rows, locked, their keys, their events."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from server.domain.access import Actor
from server.domain.events import EventType
from server.domain.webhooks import Webhook
from server.storage import resellers
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import webhook_json
from server.storage.interface.webhooks import WebhookWithSecret
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.schema.codes import WEBHOOK_TARGET
from server.storage.schema.tables import EventNumber, ResellerNumber, WebhookNumber
from server.storage.schema.webhook_tables import WebhookRow
from server.storage.sql.statements import Transaction
from server.storage.sql.times import Micros, micros
from server.storage.webhooks.delivery_rows import add_test_delivery
from server.storage.webhooks.rows import BY_NUMBER, LOCK, webhook


class About(NamedTuple):
    """Which webhook a request is about, who sends it, and when."""

    reseller_id: str
    webhook_id: str
    now: Micros
    actor: Actor
    use: KeyedRequest | None


class Request(Protocol):
    """What a batch handler gets for one caller."""

    @property
    def about(self) -> About: ...
    @property
    def use(self) -> KeyedRequest | None: ...


RequestT = TypeVar("RequestT", bound=Request)
OutcomeT = TypeVar("OutcomeT")


class Locked:
    """The webhooks of one batch, locked."""

    def __init__(self, transaction: Transaction, batch: Iterable[Request]) -> None:
        self._transaction = transaction
        wanted = list(dict.fromkeys(each.about.webhook_id for each in batch))
        self._rows = {row.id: row for row in transaction.fetch(LOCK, wanted)}

    def find(self, about: About) -> WebhookRow | None:
        """Returns the row as it is now, if the reseller has such a webhook."""
        row = self._rows.get(about.webhook_id)  # type: ignore[call-overload]
        reseller = resellers.reseller_number(self._transaction, about.reseller_id)
        return row if row and row.reseller == reseller else None

    def has_changed(self, row: WebhookRow) -> None:
        """Reads the row anew for the requests that come after."""
        del self._rows[row.id]
        self._rows |= {each.id: each for each in self._transaction.fetch(LOCK, [row.id])}


def answer_locked(
    transaction: Transaction,
    batch: Sequence[RequestT],
    act: Callable[[Locked, Keys, RequestT, WebhookRow], OutcomeT],
    existing: Callable[[RequestT, Target], OutcomeT | None],
    missing: OutcomeT | None = None,
) -> list[OutcomeT | Exception | None]:
    """Answers each request: by what its key stands for, or by what `act` does to its webhook's row.

    `missing` is the answer where there is no such webhook.
    """
    locked = Locked(transaction, batch)
    keys = Keys(transaction, [each.use for each in batch])

    def answer(request: RequestT) -> OutcomeT | None:
        row = locked.find(request.about)
        return missing if row is None else act(locked, keys, request, row)

    outcomes = answer_each(batch, keys, existing, answer)
    if transaction.events:
        transaction.last_steps.append(keys.write)
    else:
        keys.write()
    return outcomes


def row_by_key(transaction: Transaction, target: Target) -> WebhookRow | None:
    """Returns the webhook that a key stands for; None once it is deleted."""
    if target.kind != WEBHOOK_TARGET:
        return None
    rows = transaction.fetch(BY_NUMBER, [target.number])
    return rows[0] if rows else None


def webhook_by_key(transaction: Transaction, target: Target) -> Webhook | None:
    """Returns the webhook that a key stands for; None once it is deleted."""
    row = row_by_key(transaction, target)
    return row and webhook(transaction, row)


def with_secret(transaction: Transaction, row: WebhookRow | None) -> WebhookWithSecret | None:
    """Returns the webhook in a row, if there is one, and its secret."""
    return row and WebhookWithSecret(webhook(transaction, row), row.secret)


def log_change(
    transaction: Transaction,
    reseller: ResellerNumber,
    type_: EventType,
    after: Webhook,
    about: About,
    then: Callable[[EventNumber], None] | None = None,
) -> None:
    """Notes an event of a webhook as it is after a change; `then` gets the event's number."""
    at = max(about.now, micros(after.updated_at))
    log(transaction, NewEvent(reseller, type_, at, about.actor, webhook_json(after), then=then))


def log_test(
    transaction: Transaction,
    reseller: ResellerNumber,
    number: WebhookNumber,
    tested: Webhook,
    about: About,
    then: Callable[[EventNumber], None] | None = None,
) -> None:
    """Notes a `webhook.test` and has it sent to the webhook alone; `then` gets the event's number.

    Not if the same transaction goes on to disable the webhook, move it or delete it.
    """

    def send(event: EventNumber) -> None:
        rows = transaction.fetch(BY_NUMBER, [number])
        if rows and rows[0].enabled and rows[0].url == tested.url:
            add_test_delivery(transaction, number, reseller, event, about.now)
        if then:
            then(event)

    log_change(transaction, reseller, EventType.WEBHOOK_TEST, tested, about, send)
