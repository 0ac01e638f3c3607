"""An import from its file to its summary."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
from rich.console import Console

from client import errors
from client.connection import Connection
from client.errors import ClientError
from client.importing import results, rows
from client.importing.calls import Calls, result
from client.importing.columns import EMAIL, EXTERNAL_ID, Columns
from client.importing.progress import Steps, say
from client.importing.results import Result, Results
from client.importing.spool import Spool, Todo
from client.importing.tables import open_table
from client.importing.window import Window

# How often it is checked that the file has not changed: it may be growing without end.
_ROWS_PER_CHECK = 1000


class Import:
    """One run over one file."""

    def __init__(self, connection: Connection, file: Path, console: Console) -> None:
        self._connection = connection
        self._file = file
        self._console = console
        self._spool = Spool()
        self._results = Results(file.with_name(f"{file.name}.results.csv"))
        self._calls = Calls(connection)
        self._columns = Columns(["name", "email"], {})
        # How many rows earlier runs have done, and in how many of them the customer was there.
        self._done_before = 0
        self._existing_before = 0
        self._sends = False

    def read(self, given: Mapping[str, str], encoding: str | None) -> None:
        """Reads the file and what an earlier run did; notes what is wrong with rows."""
        self._spool.fill(self._results.read())
        before = _version(self._file)
        table = open_table(self._file, encoding)
        if table.header.problem:
            raise ClientError(f"{self._file}: line {table.header.line}: {table.header.problem}")
        self._columns = Columns(table.header.cells, given)
        say(self._console, f"{self._file}: {table.form}")
        if unused := self._columns.unused():
            say(self._console, f"not used: {unused} (see --columns)")
        with Steps(self._console, "reading", None) as steps:
            for count, row in enumerate(table.rows):
                if count % _ROWS_PER_CHECK == 0:
                    self._require_unchanged(before)
                self._read_row(row.line, row.cells, row.problem)
                steps.step()
        self._require_unchanged(before)
        states = self._spool.count().states
        self._done_before = sum(states.get(each, 0) for each in results.DONE)
        self._existing_before = states.get(results.EXISTS, 0)

    def _require_unchanged(self, version: tuple[int, ...]) -> None:
        """Raises ClientError if the file has changed since."""
        if _version(self._file) != version:
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

    def check(self, *, count_existing: bool = False) -> int:
        """Has the service check all rows, and says what is wrong; returns how many are.

        `count_existing` counts those whose customer is there as done. An import itself asks by their keys
        first, which tells more of them.
        """

        def done(todo: Todo, answer: Result | grpc.RpcError | None) -> None:
            if isinstance(answer, grpc.RpcError):
                for title, why in self._wrong(answer):
                    self._spool.add_wrong(todo.line, title, why)
            elif answer and count_existing:
                self._spool.note(answer)
            steps.step()

        with Steps(self._console, "checking", self._spool.count().todo) as steps:
            Window(self._connection, self._calls.check, done, steps.tell, changes=False).run(
                self._spool.todo()
            )
        for line, title, why in self._spool.wrong():
            where = f"line {line}, {title}" if title else f"line {line}"
            say(self._console, f"{self._file}: {where}: {why}")
        return self._spool.count().wrong

    def _wrong(self, error: grpc.RpcError) -> Iterator[tuple[str, str]]:
        details = errors.details(error)
        for field, why in details.violations:
            yield self._columns.of_field(field, why), why
        if not details.violations:
            yield "", str(errors.of_call(error, self._connection.endpoint))

    def send(self) -> None:
        """Invites who is to be invited, and adds what becomes of each to the result file."""
        self._sends = True

        def done(todo: Todo, answer: Result | grpc.RpcError) -> None:
            if isinstance(answer, grpc.RpcError):
                why = str(errors.of_call(answer, self._connection.endpoint))
                answer = result(todo, state=results.REFUSED, error=why)
            self._spool.note(answer)
            self._results.add(answer)
            steps.step()

        with Steps(self._console, "inviting", self._spool.count().todo) as steps:
            Window(self._connection, self._calls.invite, done, steps.tell, changes=True).run(
                self._spool.todo()
            )

    def wait(self) -> None:
        """Waits until the e-mails are out, or given up."""

        def done(_: Result, answer: Result | grpc.RpcError) -> None:
            if isinstance(answer, grpc.RpcError):
                raise errors.of_call(answer, self._connection.endpoint)
            if answer.state != results.INVITED:
                self._spool.note(answer)
                steps.step()

        left = self._spool.count().states.get(results.INVITED, 0)
        with Steps(self._console, "e-mails", left) as steps:
            while self._spool.count().states.get(results.INVITED, 0):
                Window(self._connection, self._calls.wait, done, steps.tell, changes=False).run(
                    self._spool.under_way()
                )
                self.write()

    def summary(self) -> str:
        """Returns how many rows are in which state, in words."""
        count = self._spool.count()
        done = sum(count.states.get(each, 0) for each in results.DONE)
        existing = count.states.get(results.EXISTS, 0) - self._existing_before
        failed = count.states.get(results.FAILED, 0)
        refused = count.states.get(results.REFUSED, 0)
        counts = {
            "invited": done - existing - self._done_before,
            "there already": existing,
            "done before": self._done_before,
            "with e-mails that could not be sent": failed if self._sends else 0,
            "refused": refused,
            "wrong": count.wrong,
            "to be invited": count.todo - (failed + refused if self._sends else 0),
        }
        return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n) or "no rows"

    def is_done(self, *, but_to_send: bool) -> bool:
        """Tells whether all rows are done; with `but_to_send` whether they could be."""
        count = self._spool.count()
        return not count.wrong and (but_to_send or not count.todo)

    @property
    def result_file(self) -> Path:
        """The file that says what became of each row."""
        return self._results.file

    def close(self) -> None:
        """Ends the run: another import may write the result file then."""
        self._results.close()

    def write(self) -> None:
        """Writes the result file anew, in the order of the rows."""
        self._results.replace(self._spool.results())


def _version(file: Path) -> tuple[int, ...]:
    """Returns what differs after any change of a file."""
    now = file.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Lets one import of a file run at a time; raises ClientError where another runs."""
    if file.exists() and not file.is_file() and not file.is_dir():
        raise ClientError(
            f"{file} is no file: save what it holds to one, it is read more than once"
        )
    with file.open("rb") as content:
        try:
            fcntl.flock(content, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientError(f"{file} is being imported already: wait for that to end") from None
        yield
