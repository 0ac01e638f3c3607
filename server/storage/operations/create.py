"""Operations that requests make."""

from collections.abc import Sequence

from server.domain.operations import Operation
from server.storage.keys import KeyedRequest, Keys, Target
from server.storage.operations.read import by_number
from server.storage.operations.rows import operation_row
from server.storage.schema.tables import (
    CustomerNumber,
    OperationNumber,
    OperationRow,
    ResellerNumber,
)
from server.storage.sql.statements import Transaction


class NewOperations:
    """The operations that one batch makes, and those that its repeated requests stand for."""

    def __init__(self, transaction: Transaction, uses: Sequence[KeyedRequest | None]) -> None:
        self._transaction = transaction
        self.keys = Keys(transaction, uses)
        self.rows: list[OperationRow] = []
        self._made: dict[int, Operation] = {}

    def existing(self, _: object, target: Target) -> Operation:
        """Returns the operation that a key stands for."""
        return self._made.get(target.number) or by_number(self._transaction, target.number)

    def add(
        self,
        operation: Operation,
        number: int,
        reseller: ResellerNumber,
        customer: CustomerNumber,
        use: KeyedRequest | None,
        *,
        with_id: bool,
    ) -> None:
        """Notes the row of a new operation, and that the key stands for it."""
        key = self.keys.made(use, OperationNumber(number))
        self._made[number] = operation
        self.rows.append(operation_row(operation, number, reseller, customer, key, with_id=with_id))
