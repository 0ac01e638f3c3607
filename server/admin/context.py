"""What all commands share: the storage, who asks, errors and output."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, TypeVar

import click

from server.domain.errors import BillingError
from server.domain.texts import is_visible, unfit
from server.identity.key_ring import KeyRing, KeyRingError
from server.os_user import user_name
from server.storage.interface import Administration, Backlog, OperatorStorage, Storage

R = TypeVar("R")

# What CreateResellerServed takes as a reseller's ID, from its proto.
_ID = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-(?:[0-9a-f]{12}|[0-9a-f]{32})"
    "|[a-z][-a-zA-Z0-9.]{0,48}[a-zA-Z0-9]"
)
_LONGEST_NAME = 200


class AdminError(click.ClickException):
    """A command that can't be carried out: one line, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002
        """Prints the line as all other errors of the program are printed."""
        click.echo(f"error: {printable(self.format_message())}", err=True)


@dataclass(frozen=True)
class AdminContext:
    """What the commands work on, opened when one needs it.

    service_clock: what invitations and e-mails go by; a sandbox's can be wound.
    """

    open_storage: Callable[[], AbstractAsyncContextManager[Storage]]
    open_ring: Callable[[], KeyRing]
    clock: Callable[[], datetime]
    service_clock: Callable[[], datetime]

    def ask(self, work: Callable[[Administration], Awaitable[R]]) -> R:
        """Runs `work` on what decides who may do what; raises AdminError for its refusals."""
        return self._on_storage(lambda storage: work(storage.administration))

    def look(self, work: Callable[[OperatorStorage], Awaitable[R]]) -> R:
        """Runs `work` on customers and e-mails; raises AdminError likewise."""
        return self._on_storage(lambda storage: work(storage.operators))

    def backlog(self) -> Backlog:
        """Returns what waits to be sent; raises AdminError likewise."""
        return self._on_storage(lambda storage: storage.backlog.read_backlog())

    def _on_storage(self, work: Callable[[Storage], Awaitable[R]]) -> R:
        async def on_storage() -> R:
            async with self.open_storage() as storage:
                return await work(storage)

        try:
            return asyncio.run(on_storage())
        except BillingError as error:
            failed = error.for_operators and f"BILLING_DATABASE_URL: {error.for_operators}"
            raise AdminError(failed or error.message) from None

    def ring(self) -> KeyRing:
        """Returns the keys that sign tokens; raises AdminError."""
        try:
            return self.open_ring()
        except KeyRingError as error:
            raise AdminError(f"BILLING_KEYS: {error}") from None


admin_context = click.make_pass_decorator(AdminContext)


def _check_id(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    if value is not None and not _ID.fullmatch(value):
        raise AdminError("an ID is a UUID or 2 to 50 of a-z A-Z 0-9 . - that begin with a-z")
    return value


def _check_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    value = value.strip()
    if not is_visible(value) or len(value) > _LONGEST_NAME:
        raise AdminError(f"a name is 1 to {_LONGEST_NAME} printable characters")
    wrong = unfit(value)
    if wrong:
        raise AdminError(f"a name is printable characters: {wrong}")
    return value


def _check_by(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not is_visible(value) or not value.isprintable() or len(value) > _LONGEST_NAME:
        raise AdminError(f"who asks for it (--by) is 1 to {_LONGEST_NAME} printable characters")
    return value.strip()


by_option = click.option(
    "--by",
    default=user_name,
    callback=_check_by,
    help="Who asks for it, as the audit shows it beside the OS user; default that user.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
id_option = click.option("--id", "id_", callback=_check_id, help="Its ID; default a random one.")
name_argument = click.argument("name", callback=_check_name)


def rfc3339(at: datetime) -> str:
    """Returns an aware UTC time as text."""
    return at.isoformat().replace("+00:00", "Z")


def printable(text: str) -> str:
    """Returns text for a terminal: what would move the cursor or hide comes as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _json(value: Any, indent: int | None = None) -> str:
    """Returns JSON with letters of all scripts as they are, and escapes for what is not printable."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def show(record: Mapping[str, str], text: str, *, as_json: bool) -> None:
    """Prints one thing: its JSON, or a line for people."""
    click.echo(_json(record) if as_json else printable(text))


def show_all(rows: Sequence[Mapping[str, str]], *, as_json: bool) -> None:
    """Prints a list: a JSON array, or a table whose columns are the keys."""
    if as_json:
        click.echo(_json(rows, indent=2))
        return
    if not rows:
        click.echo("none", err=True)
        return
    lines = [[key.upper().replace("_", " ") for key in rows[0]], *(row.values() for row in rows)]
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
