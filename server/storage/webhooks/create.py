"""Creating webhooks, each with its events and its test."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, update

from server.domain.events import EventType
from server.domain.webhook_settings import MOST_WEBHOOKS, webhook_limit_reached
from server.domain.webhooks import Webhook, WebhookState
from server.storage import resellers
from server.storage.interface.webhooks import WebhookWithSecret
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.schema.codes import WEBHOOK_TARGET
from server.storage.schema.tables import EventNumber, ResellerNumber
from server.storage.schema.webhook_tables import webhooks
from server.storage.sql.driver_errors import OvertakenError
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.webhooks.batch import About, log_change, log_test, row_by_key, with_secret
from server.storage.webhooks.rows import insert_webhook


class _WebhookCount(NamedTuple):
    """How many webhooks a reseller has."""

    reseller: ResellerNumber
    number: int


_COUNT = Query(
    _WebhookCount,
    select(webhooks.c.reseller, func.count())
    .where(webhooks.c.reseller.in_(IDS))
    .group_by(webhooks.c.reseller),
)
_BEGIN_AT = Statement(
    update(webhooks).where(webhooks.c.n.in_(IDS)).values(position=bindparam("position")),
    "position",
)


class Creation(NamedTuple):
    """A webhook to record."""

    new: Webhook
    secret: str
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


def create_webhooks(
    transaction: Transaction, batch: Sequence[Creation]
) -> list[WebhookWithSecret | Exception | None]:
    """Creates webhooks; see WebhookStorage.create_webhook."""
    keys = Keys(transaction, [request.use for request in batch])
    owners = {resellers.require_reseller(transaction, request.new.reseller_id) for request in batch}
    counts = Counter(_counted(transaction, list(owners)))
    made: Counter[ResellerNumber] = Counter()

    def create(request: Creation) -> WebhookWithSecret:
        new = request.new
        reseller = resellers.require_reseller(transaction, new.reseller_id)
        if counts[reseller] + made[reseller] >= MOST_WEBHOOKS:
            raise webhook_limit_reached()
        made[reseller] += 1
        number = insert_webhook(transaction, new, reseller, request.secret)

        def begin_at(event: EventNumber) -> None:
            transaction.run(_BEGIN_AT, [number], position=event)

        log_change(
            *(transaction, reseller, EventType.WEBHOOK_CREATED, new, request.about), then=begin_at
        )
        if new.state is WebhookState.ENABLED:
            log_test(transaction, reseller, number, new, request.about)
        keys.changed(request.use, WEBHOOK_TARGET, number)
        return WebhookWithSecret(new, request.secret)

    def check() -> None:
        """Raises OvertakenError if others have made some meanwhile, up to the limit.

        Who has made one holds the lock of the reseller's log until its commit, as this one does now.
        """
        now = _counted(transaction, list(made))
        if any(number > MOST_WEBHOOKS for number in now.values()):
            raise OvertakenError

    def existing(_: Creation, target: Target) -> WebhookWithSecret | None:
        return with_secret(transaction, row_by_key(transaction, target))

    outcomes = answer_each(batch, keys, existing, create)
    keys.write()
    if made:
        transaction.checks.append(check)
    return outcomes


def _counted(
    transaction: Transaction, owners: Sequence[ResellerNumber]
) -> dict[ResellerNumber, int]:
    return {row.reseller: row.number for row in transaction.fetch(_COUNT, owners)}
