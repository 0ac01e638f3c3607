"""The calls that an import makes for a row, and what their answers say of it."""

import grpc
from billing.v1 import customer_service_pb2, customer_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from client import errors
from client.connection import Connection
from client.importing import results, rows
from client.importing.results import Result
from client.importing.spool import Todo

_EXISTS_REASONS = ("INVITATION_OPEN", "EXTERNAL_ID_TAKEN")
_WAIT_S = 10


class Calls:
    """Each is made once; what fails is raised as it is, unless it says that the customer is there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._customers = customer_service_pb2_grpc.CustomerServiceStub(connection.channel)
        self._operations = operations_pb2_grpc.OperationsStub(connection.channel)

    def check(self, todo: Todo) -> Result | None:
        """Has the service check a row; returns who is there already, if it says so."""
        try:
            self._validate(todo)
        except grpc.RpcError as error:
            # What limits e-mails is obeyed when they are sent.
            limited = errors.details(error).reason == "MAIL_LIMIT_REACHED"
            existing = self._existing(error, todo)
            if existing is None and not limited:
                raise
            return existing
        return None

    def _validate(self, todo: Todo) -> None:
        request = customer_service_pb2.InviteCustomerRequest()
        request.CopyFrom(todo.request)
        request.validate_only = True
        self._connection.attempt(self._customers.InviteCustomer, request)

    def invite(self, todo: Todo) -> Result:
        """Invites who is in a row."""
        try:
            operation = self._connection.attempt(
                self._customers.InviteCustomer, todo.request, todo.key
            )
        except grpc.RpcError as error:
            existing = self._existing(error, todo)
            if errors.details(error).reason == "IDEMPOTENCY_KEY_REUSED":
                existing = self._changed_since(todo)
            if existing is None:
                raise
            return existing
        return _outcome(result(todo), operation)

    def _existing(self, error: grpc.RpcError, todo: Todo) -> Result | None:
        """Returns what is there already, if the service refused a row for that; None: it did not."""
        details = errors.details(error)
        if details.reason not in _EXISTS_REASONS:
            return None
        request = customer_service_pb2.GetCustomerRequest(
            name=self._connection.name("customers", details.metadata.get("customerId", ""))
        )
        found = self._connection.attempt(self._customers.GetCustomer, request)
        if not rows.is_same(todo.request.customer, found):
            return None
        operation = details.metadata.get("operationId", "")
        return result(
            todo,
            state=results.EXISTS,
            customer=found.name,
            operation=f"operations/{operation}" if operation else "",
        )

    def _changed_since(self, todo: Todo) -> Result:
        """Returns what is there of a row that was sent before and has been changed in the file."""
        why = (
            "it was invited within two days, when the file said something else of it, and that has "
            "ended since: change the customer with `billing customers update`, or invite again later"
        )
        try:
            self._validate(todo)
        except grpc.RpcError as error:
            existing = self._existing(error, todo)
            if existing is None:
                raise
            return existing
        return result(todo, state=results.REFUSED, error=why)

    def wait(self, row: Result) -> Result:
        """Waits for a row's e-mail for a while; returns what is known of the row then."""
        request = operations_pb2.WaitOperationRequest(
            name=row.operation, timeout=Duration(seconds=_WAIT_S)
        )
        try:
            operation = self._connection.attempt(self._operations.WaitOperation, request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            why = "it ended so long ago that how is no longer kept"
            return row._replace(state=results.EXISTS, error=why)
        return _outcome(row, operation)


def result(
    todo: Todo, *, state: str = "", customer: str = "", operation: str = "", error: str = ""
) -> Result:
    """Returns what is known of a row, as a line of the result file."""
    external_id = " ".join(todo.request.customer.external_id.split())
    return Result(todo.line, external_id, customer, operation, state, error, todo.row_key)


def _outcome(row: Result, operation: operations_pb2.Operation) -> Result:
    """Returns what an operation says of a row."""
    metadata = customer_service_pb2.InviteCustomerMetadata()
    operation.metadata.Unpack(metadata)
    state, error = results.INVITED, ""
    if operation.HasField("error"):
        cancelled = operation.error.code == code_pb2.CANCELLED
        state = results.CANCELLED if cancelled else results.FAILED
        error = " ".join(operation.error.message.split())
    elif operation.done:
        state = results.SENT
    return row._replace(
        operation=operation.name,
        customer=metadata.customer or row.customer,
        state=state,
        error=error,
    )
