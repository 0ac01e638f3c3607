"""What is sent to a webhook because its reseller asks for it: tests, and events again."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from server.domain.errors import BillingError, Reason, Resource
from server.domain.events import event_id, events_gone, require_within_log
from server.domain.webhook_settings import require_deliverable
from server.domain.webhooks import Webhook
from server.storage.keys import KeyedRequest, Keys, Target
from server.storage.schema.codes import EVENT_TARGET, WEBHOOK_TARGET, EventTypeCode
from server.storage.schema.tables import EventNumber, event_logs, events
from server.storage.schema.webhook_tables import WebhookRow
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.webhooks.batch import (
    About,
    Locked,
    answer_locked,
    log_test,
    webhook_by_key,
)
from server.storage.webhooks.delivery_rows import TEST, add_delivery, rewind_deliveries
from server.storage.webhooks.rows import webhook


class Test(NamedTuple):
    """A webhook to test."""

    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


class Sent:
    """The number of the `webhook.test`, once the transaction has ended."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


def test_webhooks(transaction: Transaction, batch: Sequence[Test]) -> list[Sent | Exception | None]:
    """Sends tests; see WebhookStorage.test_webhook."""

    def test(_: Locked, keys: Keys, request: Test, row: WebhookRow) -> Sent:
        tested = webhook(transaction, row)
        require_deliverable(tested, verified=False)
        sent = Sent()

        def note(number: EventNumber) -> None:
            sent.number = number
            keys.changed(request.use, EVENT_TARGET, number)

        log_test(transaction, row.reseller, row.n, tested, request.about, note)
        return sent

    return answer_locked(transaction, batch, test, lambda _, target: _sent(target))


def _sent(target: Target) -> Sent | None:
    return Sent(target.number) if target.kind == EVENT_TARGET else None


class Redelivery(NamedTuple):
    """What to send again: one event, or all after one, by their numbers."""

    event: int | None
    after: int | None
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


class _Log(NamedTuple):
    cleared: EventNumber
    last: EventNumber


class _Type(NamedTuple):
    type: EventTypeCode


_LOG = Query(
    _Log,
    select(event_logs.c.cleared, event_logs.c.last).where(event_logs.c.reseller.in_(IDS)),
)
_TYPE = Query(
    _Type,
    select(events.c.type).where(events.c.reseller.in_(IDS), events.c.number == bindparam("number")),
    "number",
)


def redeliver_events(
    transaction: Transaction, batch: Sequence[Redelivery]
) -> list[Webhook | Exception | None]:
    """Has events sent again; see WebhookStorage.redeliver."""

    def redeliver(_: Locked, keys: Keys, request: Redelivery, row: WebhookRow) -> Webhook:
        wanted = webhook(transaction, row)
        require_deliverable(wanted, verified=True)
        if request.event is not None:
            event = _require_event(transaction, row, request)
            add_delivery(transaction, row.n, row.reseller, event, request.about.now)
        else:
            after = _require_kept(transaction, row, request)
            rewind_deliveries(transaction, row.n, after)
        keys.changed(request.use, WEBHOOK_TARGET, row.n)
        return wanted

    return answer_locked(
        transaction, batch, redeliver, lambda _, target: webhook_by_key(transaction, target)
    )


def _log_of(transaction: Transaction, row: WebhookRow) -> _Log:
    # The webhook's own creation is in it.
    (log,) = transaction.fetch(_LOG, [row.reseller])
    return log


def _require_event(transaction: Transaction, row: WebhookRow, request: Redelivery) -> EventNumber:
    """Returns the number of the event to send again. Raises EVENTS_GONE, NOT_FOUND."""
    number = EventNumber(request.event or 0)
    reseller_id = request.about.reseller_id
    cleared = _log_of(transaction, row).cleared
    if 0 < number <= cleared:
        raise events_gone(reseller_id, cleared)
    found = transaction.fetch(_TYPE, [row.reseller], number=number)
    if not found:
        raise _no_such_event(reseller_id, number)
    if found[0].type == TEST:
        raise BillingError(
            Reason.WEBHOOK_STATE,
            "A test is sent once; send a new one with TestWebhook.",
        )
    return number


def _require_kept(transaction: Transaction, row: WebhookRow, request: Redelivery) -> EventNumber:
    """Returns the number after which all is to be sent again; see `require_within_log`."""
    log = _log_of(transaction, row)
    if request.after is None:
        return log.cleared
    require_within_log(request.about.reseller_id, request.after, *log)
    return EventNumber(request.after)


def _no_such_event(reseller_id: str, number: int) -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such event; check its ID.",
        resource=Resource("billing.v1.Event", event_id(reseller_id, number)),
    )
