"""Commands for e-mails: what one looks like, how many wait, keys that sign them."""

import asyncio
import json
import sys
from pathlib import Path

import click

from server.admin import mail, printable
from server.clock import now
from server.commands.common import command_settings, service_clock
from server.settings_sources import read_settings


@mail.command("preview")
@click.option(
    "--kind",
    type=click.Choice(["invitation", "resent", "reminder", "warning", "disabled"]),
    default="invitation",
    show_default=True,
    help="Which e-mail; warning and disabled are those about webhooks that fail.",
)
@click.option("--reseller", default="Horns and Hooves", show_default=True, help="Who invites.")
@click.option("--customer", default="Romashka LLC", show_default=True, help="Who is invited.")
@click.option(
    "--language",
    default="",
    metavar="CODE",
    help="Of an invitation that asks for one; default all of BILLING_MAIL_LANGUAGES.",
)
@click.option("--full", is_flag=True, help="With all that can be in it: contact, inviter, note.")
def preview_mail(kind: str, reseller: str, customer: str, language: str, full: bool) -> None:
    """Print an e-mail as it would be sent.

    Its link leads nowhere.

    \b
    Example:
      billing-server mail preview --kind reminder --customer "شركة الفوترة" > preview.eml
    """
    from server.mail_preview import Previewed, PreviewKind, preview

    wanted = Previewed(PreviewKind(kind), reseller, customer, language, full)
    sys.stdout.buffer.write(preview(read_settings(), wanted))


@mail.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def mail_status(as_json: bool) -> None:
    """Tell how many e-mails wait, and why.

    Since when, for which mail server, and the last error. Counts up to 10,000 new ones, and as many
    that are tried again. E-mails of suspended resellers are held and not among them.

    \b
    Example:
      billing-server mail status --json
    """
    from server import mail_status
    from server.sandbox.development import mail_server

    settings = read_settings()
    status = asyncio.run(
        mail_status.mail_status(settings, service_clock(), mail_server(settings.var))
    )
    if as_json:
        click.echo(json.dumps(status.as_json()))
        return
    for line in status.lines():
        click.echo(printable(line))


@click.group()
def dkim() -> None:
    """Make keys that sign e-mails (DKIM)."""


@dkim.command("new")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where the keys go; default dkim in var."
)
def new_dkim_keys(folder: Path | None) -> None:
    """Make keys that sign e-mails.

    Prints the DNS records and the settings that they need.

    \b
    Example:
      billing-server dkim new --folder /etc/billing/dkim
    """
    from server import dkim_command

    click.echo(dkim_command.new_keys(command_settings(), now(), folder))
