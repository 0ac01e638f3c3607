"""`billing customers import`."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import click
from rich.console import Console

from client.context import Context, with_context
from client.errors import INTERRUPTED, REFUSED, ClientError
from client.importing.columns import parse_given
from client.importing.run import Import, locked


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--columns",
    multiple=True,
    metavar="HEADER=FIELD,…",
    help="Which field a column is, by its header; - for a column to leave out.",
)
@click.option(
    "--encoding", help="Of a CSV file, such as windows-1251; default what it seems to be."
)
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
    """Invite a spreadsheet's customers, each exactly once.

    FILE is CSV or XLSX. Its first row names the columns: name and invitation_email, and if you like
    external_id, person.tin and the like (see `billing customers invite`), labels.KEY, language,
    inviter, note. All rows are checked first; nothing is sent while one is wrong.

    What becomes of each is written to FILE.results.csv. However this ends, run the same command again:
    it goes on where it was, also when rows were added or stand in another order. A row is known again
    by its external ID, or else by its address and tax number.

    \b
    Examples:
      billing customers import customers.xlsx --dry-run
      billing customers import customers.csv --columns "Наименование=name,ИНН=person.tin" --wait

    The exit code is 1 where a row was not done.
    """
    run = Import(context.connection, file, Console(stderr=True, highlight=False))
    try:
        with locked(file), closing(run):
            run.read(parse_given(columns), encoding)
            if dry_run:
                run.check(count_existing=True)
            else:
                _invite(run, skip_invalid=skip_invalid, wait=wait)
    except KeyboardInterrupt:
        raise ClientError(
            f"stopped: {run.summary()}; run the same command again, it goes on", INTERRUPTED
        ) from None
    except sqlite3.Error as error:
        raise ClientError(
            f"a temporary file can't be written ({error}): make room, or name another folder in TMPDIR"
        ) from None
    click.echo(run.summary() + ("" if dry_run else f"; see {run.result_file}"))
    return 0 if run.is_done(but_to_send=dry_run) else REFUSED


def _invite(run: Import, *, skip_invalid: bool, wait: bool) -> None:
    # Before anything is sent it shows whether that file can be written.
    run.write()
    try:
        if run.check() and not skip_invalid:
            raise ClientError(
                f"nothing was sent ({run.summary()}): mend the rows that are wrong, or leave them out "
                "with --skip-invalid"
            )
        run.send()
        if wait:
            run.wait()
    except BaseException:
        # It is whole anyway; this puts the rows in order.
        with suppress(ClientError):
            run.write()
        raise
    run.write()
