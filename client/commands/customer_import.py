"""`billing customers import`."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from client.context import Context, with_context
from client.errors import REFUSED, ClientError
from client.importing import results
from client.importing.columns import parse_given
from client.importing.run import Import, alone
from client.importing.spool import Count


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--columns",
    multiple=True,
    metavar="HEADER=FIELD,…",
    help="What columns hold whose header does not say it; - for one that is not to be used.",
)
@click.option("--encoding", help="Of a CSV file, such as windows-1251; found out where not said.")
@click.option("--dry-run", is_flag=True, help="Check all rows, and send nothing.")
@click.option("--skip-invalid", is_flag=True, help="Leave out the rows that are wrong.")
@click.option("--wait", is_flag=True, help="Wait until the e-mails have gone out.")
@with_context
def import_customers(
    context: Context,
    file: Path,
    columns: tuple[str, ...],
    encoding: str | None,
    dry_run: bool,
    skip_invalid: bool,
    wait: bool,
) -> int:
    """Invite the customers of a spreadsheet, CSV or XLSX, each exactly once.

    The first row names the columns: name, invitation_email, and where there are such external_id,
    person.tin and the like (see `billing customers invite`), labels.KEY, language, inviter, note.
    All rows are checked first; nothing is sent while one is wrong.

    What becomes of each is written to FILE.results.csv. However this ends, run the same command again:
    it goes on where it was, also when rows were added or stand in another order. A row is known again
    by its external ID, or else by its address and tax number.

    \b
    Examples:
      billing customers import customers.xlsx --dry-run
      billing customers import customers.csv --columns "Наименование=name,ИНН=person.tin" --wait
    """
    console = Console(stderr=True, highlight=False)
    try:
        with alone(file):
            run = Import(context.connection, file, console)
            run.read(parse_given(columns), encoding)
            before = run.count()
            wrong = run.check()
            run.tell_wrong()
            if dry_run or (wrong and not skip_invalid):
                return _end(run.count(), before, dry_run=dry_run)
            try:
                run.send()
                if wait:
                    run.wait()
            except BaseException:
                with suppress(ClientError):
                    run.finish()
                raise
            run.finish()
            return _end(run.count(), before, file=run.result_file)
    except sqlite3.Error as error:
        raise ClientError(
            f"a temporary file can't be written ({error}): make room, or name another folder in TMPDIR"
        ) from None


def _end(after: Count, before: Count, *, dry_run: bool = False, file: Path | None = None) -> int:
    """Says what was done; returns the exit code."""
    state = after.states.get
    earlier = sum(before.states.get(each, 0) for each in results.DONE)
    now = sum(state(each, 0) for each in results.DONE) - earlier
    told = {
        "would be invited" if dry_run else "to be invited": 0 if file else after.todo,
        "invited": now if file else 0,
        "done before": earlier,
        "with e-mails that could not be sent": state(results.FAILED, 0),
        "refused": state(results.REFUSED, 0),
        "wrong": after.wrong,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in told.items() if count) or "no rows"
    click.echo(said + (f"; see {file}" if file else ""))
    if after.wrong and not file and not dry_run:
        raise ClientError(
            "nothing was sent: mend the rows that are wrong, or leave them out with --skip-invalid"
        )
    failed = after.wrong + state(results.FAILED, 0) + state(results.REFUSED, 0)
    return REFUSED if failed else 0
