"""An import from its file to its summary."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
from billing.v1 import customer_service_pb2, customer_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2
from rich.console import Console

from client import errors
from client.connection import Connection
from client.errors import ClientError
from client.importing import results, rows
from client.importing.columns import EMAIL, EXTERNAL_ID, Columns
from client.importing.progress import Steps
from client.importing.results import Result, Results
from client.importing.spool import Count, Spool, Todo
from client.importing.tables import open_table
from client.importing.window import Window

_THERE = ("INVITATION_OPEN", "EXTERNAL_ID_TAKEN")
_WAIT_S = 10


class Import:
    """One run over one file."""

    def __init__(self, connection: Connection, file: Path, console: Console) -> None:
        self._connection = connection
        self._file = file
        self._console = console
        self._spool = Spool()
        self._results = Results(file.with_name(f"{file.name}.results.csv"))
        self._customers = customer_service_pb2_grpc.CustomerServiceStub(connection.channel)
        self._operations = operations_pb2_grpc.OperationsStub(connection.channel)
        self._columns = Columns(["name", "email"], {})

    def read(self, given: Mapping[str, str], encoding: str | None) -> None:
        """Reads the file and what an earlier run did; notes what is wrong with rows."""
        self._spool.fill(self._results.read())
        before = _version(self._file)
        table = open_table(self._file, encoding)
        if table.header.problem:
            raise ClientError(f"{self._file}: line {table.header.line}: {table.header.problem}")
        self._columns = Columns(table.header.cells, given)
        self._say(f"{self._file}: {table.told}")
        if unused := self._columns.unused():
            self._say(f"not used: {unused} (see --columns)")
        with Steps(self._console, "reading", None) as steps:
            for row in table.rows:
                self._read_row(row.line, row.cells, row.problem)
                steps.step()
        if _version(self._file) != before:
            raise ClientError(
                f"{self._file} changed while it was read: nothing was sent; save it and run the same "
                "command again"
            )

    def _read_row(self, line: int, cells: list[str], problem: str) -> None:
        if problem:
            self._spool.add_wrong(line, "", problem)
            return
        width = len(self._columns.fields)
        if any(cells[width:]):
            why = f"it has {len(cells)} cells, the header {width}: is a quote missing?"
            self._spool.add_wrong(line, "", why)
            return
        values = self._columns.values(cells)
        wrong = False
        for field, why in rows.problems(values):
            self._spool.add_wrong(line, self._columns.of_field(field), why)
            wrong = True
        if wrong:
            return
        twin = self._spool.add(line, rows.request(self._connection.reseller, values))
        if twin is not None:
            has_id = EXTERNAL_ID in values
            title = self._columns.of_field(EXTERNAL_ID if has_id else EMAIL)
            or_id = "external ID, or the same " if has_id else ""
            why = f"Line {twin} has the same {or_id}address and tax number."
            self._spool.add_wrong(line, title, why)

    def check(self) -> int:
        """Has the service check all rows; returns how many are wrong."""

        def call(todo: Todo) -> None:
            try:
                self._validate(todo)
            except grpc.RpcError as error:
                # What limits e-mails is obeyed when they are sent.
                if errors.details(error).reason != "MAIL_LIMIT_REACHED" and not self._there(
                    error, todo
                ):
                    raise

        def done(todo: Todo, answer: grpc.RpcError | None) -> None:
            if isinstance(answer, grpc.RpcError):
                for title, why in self._wrong(answer):
                    self._spool.add_wrong(todo.line, title, why)
            steps.step()

        with Steps(self._console, "checking", self._spool.count().todo) as steps:
            Window(self._connection, call, done, steps.tell).run(self._spool.todo())
        return self._spool.count().wrong

    def _validate(self, todo: Todo) -> None:
        request = customer_service_pb2.InviteCustomerRequest()
        request.CopyFrom(todo.request)
        request.validate_only = True
        self._connection.attempt(self._customers.InviteCustomer, request)

    def _wrong(self, error: grpc.RpcError) -> Iterator[tuple[str, str]]:
        details = errors.details(error)
        for field, why in details.violations:
            yield self._columns.of_field(field, why), why
        if not details.violations:
            yield "", str(errors.of_call(error, self._connection.endpoint))

    def tell_wrong(self) -> None:
        """Says what is wrong with which rows."""
        for line, title, why in self._spool.wrong():
            where = f"line {line}, {title}" if title else f"line {line}"
            self._say(f"{self._file}: {where}: {why}")

    def send(self) -> None:
        """Invites who is to be invited, and writes what became of it."""
        self._results.replace(self._spool.results())

        def done(todo: Todo, answer: Result | grpc.RpcError) -> None:
            if isinstance(answer, grpc.RpcError):
                why = str(errors.of_call(answer, self._connection.endpoint))
                answer = _result(todo, state=results.REFUSED, error=why)
            self._spool.note(answer)
            self._results.add(answer)
            steps.step()

        with Steps(self._console, "inviting", self._spool.count().todo) as steps:
            Window(self._connection, self._invite, done, steps.tell).run(self._spool.todo())

    def _invite(self, todo: Todo) -> Result:
        try:
            operation = self._connection.attempt(
                self._customers.InviteCustomer, todo.request, todo.key
            )
        except grpc.RpcError as error:
            there = self._there(error, todo)
            if errors.details(error).reason == "IDEMPOTENCY_KEY_REUSED":
                there = self._there_with_other_content(todo)
            if there is None:
                raise
            return there
        return _outcome(_result(todo), operation)

    def _there(self, error: grpc.RpcError, todo: Todo) -> Result | None:
        """Returns what is there already, if the service refused a row for that; None: it did not."""
        details = errors.details(error)
        if details.reason not in _THERE:
            return None
        request = customer_service_pb2.GetCustomerRequest(
            name=self._connection.name("customers", details.metadata.get("customerId", ""))
        )
        found = self._connection.attempt(self._customers.GetCustomer, request)
        if not rows.is_same(todo.request.customer, found):
            return None
        operation = details.metadata.get("operationId", "")
        return _result(
            todo,
            state=results.EXISTS,
            customer=found.name,
            operation=f"operations/{operation}" if operation else "",
        )

    def _there_with_other_content(self, todo: Todo) -> Result:
        """Returns what is there of a row that was sent before and has been changed in the file."""
        why = (
            "it was invited within two days, when the file said something else of it, and that has "
            "ended since: change the customer with `billing customers update`, or invite again later"
        )
        try:
            self._validate(todo)
        except grpc.RpcError as error:
            if there := self._there(error, todo):
                return there
        return _result(todo, state=results.REFUSED, error=why)

    def wait(self) -> None:
        """Waits until the e-mails are out, or given up."""

        def call(row: Result) -> operations_pb2.Operation:
            request = operations_pb2.WaitOperationRequest(
                name=row.operation, timeout=Duration(seconds=_WAIT_S)
            )
            return self._connection.attempt(self._operations.WaitOperation, request)

        def done(row: Result, answer: operations_pb2.Operation | grpc.RpcError) -> None:
            if isinstance(answer, grpc.RpcError):
                # It is over, and so long ago that it is no longer kept.
                self._spool.note(row._replace(state=results.SENT))
            elif answer.done:
                self._spool.note(_outcome(row, answer))
            else:
                return
            steps.step()

        left = self._spool.count().states.get(results.INVITED, 0)
        with Steps(self._console, "waiting for e-mails", left) as steps:
            while self._spool.count().states.get(results.INVITED, 0):
                Window(self._connection, call, done, steps.tell).run(self._spool.under_way())

    def count(self) -> Count:
        """Returns how the rows stand."""
        return self._spool.count()

    @property
    def result_file(self) -> Path:
        """The file that says what became of each row."""
        return self._results.file

    def finish(self) -> None:
        """Writes the result file in the order of the rows."""
        self._results.replace(self._spool.results())
        self._results.close()

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _result(
    todo: Todo, *, state: str = "", customer: str = "", operation: str = "", error: str = ""
) -> Result:
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


def _version(file: Path) -> tuple[int, ...]:
    """Returns what is another after any change of a file."""
    now = file.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Lets one import of a file run at a time; raises ClientError where another runs."""
    with file.open("rb") as content:
        try:
            fcntl.flock(content, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientError(f"{file} is being imported already: wait for that to end") from None
        yield
