"""Creating customers whom their reseller serves."""

from collections.abc import Sequence
from typing import NamedTuple

from server.domain.customers import NewCustomer
from server.domain.events import EventType
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage import numbers, resellers
from server.storage.counts import Counts
from server.storage.customer_rows import external_id_or_none, labels_json, person_json
from server.storage.events.log import DERIVED, NewEvent, log
from server.storage.events.rows import customer_json
from server.storage.external_ids import ExternalIds
from server.storage.keys import KeyedRequest, answer_each
from server.storage.operations.create import NewOperations
from server.storage.operations.rows import INSERT_MAKING
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    NO_INVITATION,
)
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DisplayName,
    customers,
)
from server.storage.sql.statements import Insert, Transaction
from server.storage.sql.times import micros

_INSERT = Insert(
    customers,
    CustomerRow,
    *("n", "id", "reseller", "state", "name", "person", "created_at", "modified_at", "invitation"),
    *("external_id", "labels"),
)


class Creation(NamedTuple):
    """A customer to record that its reseller serves."""

    new: NewCustomer
    use: KeyedRequest | None
    limits: Limits


def create_customers(
    transaction: Transaction, batch: Sequence[Creation]
) -> list[Operation | Exception]:
    """Creates customers; see CustomerStorage.create_customer."""
    made = NewOperations(transaction, [request.use for request in batch])
    drawn = iter(numbers.draw_numbers(transaction, len(batch)))
    rows: list[CustomerRow] = []
    resellers_of = [request.new.customer.reseller_id for request in batch]
    now = micros(batch[0].new.operation.created_at)
    counts = Counts(transaction, batch[0].limits, now, (), resellers_of)

    external_ids = ExternalIds(transaction, (request.new.customer for request in batch))

    def create(request: Creation) -> Operation:
        operation, new, actor = request.new
        external_ids.require_free(new)
        counts.customer(new.reseller_id)
        number = CustomerNumber(next(drawn))
        reseller = resellers.require_reseller(transaction, new.reseller_id)
        created = micros(new.created_at)
        row = CustomerRow(
            n=number,
            id=CustomerId(new.id),
            reseller=reseller,
            state=CUSTOMER_STATE_CODES[new.state],
            name=DisplayName(new.name),
            person=person_json(new.person),
            created_at=created,
            modified_at=created,
            invitation=NO_INVITATION,
            external_id=external_id_or_none(new.external_id),
            labels=labels_json(new.labels),
        )
        external_ids.take(new)
        rows.append(row)
        made.add(operation, number, reseller, number, request.use, with_id=False)
        event = NewEvent(
            *(reseller, EventType.CUSTOMER_CREATED, created, actor),
            *(customer_json(row), number, DERIVED),
        )
        log(transaction, event)
        return operation

    outcomes = answer_each(batch, made.keys, made.existing, create)
    transaction.insert(_INSERT, rows)
    transaction.insert(INSERT_MAKING, made.rows)
    return outcomes
