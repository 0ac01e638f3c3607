"""Commands that run until they are stopped: all on one machine, or one part of the service."""

import os
from pathlib import Path

import click

from server import console
from server.commands.common import command_settings, dev_option
from server.config import in_checkout
from server.settings_sources import is_set, variable


@click.command()
@click.option(
    "--var",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for database, e-mails, keys and logs; default BILLING_VAR, else var in the checkout "
    "or, without one, in this folder.",
)
@click.option(
    "--ports",
    type=click.Choice(["fixed", "auto"]),
    default="fixed",
    show_default=True,
    help="auto: free ports for all that no setting names; dev.json in the folder tells them.",
)
@click.option("--until-eof", is_flag=True, help="Stop also when standard input ends.")
def dev(var: Path | None, ports: str, until_eof: bool) -> None:
    """Start all parts on one machine, to try them.

    Mail catcher, servers and Envoy. Applies migrations, makes a certificate, a reseller and a token
    on the first run, waits until all is healthy and prints calls to paste. Ctrl-C stops it.

    \b
    Example:
      billing-server dev --var /tmp/billing --ports auto
    """
    from server.dev import ports as run_ports
    from server.dev import stack

    # The processes that are started read their settings there.
    if var is not None or not (is_set("var") or in_checkout()):
        os.environ[variable("var")] = str((var or Path("var")).absolute())
    with run_ports.chosen(auto=ports == "auto"):
        console.run(stack.run(command_settings(), until_eof=until_eof))


@click.command()
@click.option("--listen", help="host:port or unix:path; default 127.0.0.1 and BILLING_GRPC_PORT.")
@click.option(
    "--worker/--no-worker",
    default=True,
    show_default=True,
    help="Send e-mails and webhooks in this process too.",
)
@dev_option
def serve(listen: str | None, worker: bool, for_development: bool) -> None:
    """Serve gRPC, and send e-mails and webhooks.

    Runs until SIGTERM or Ctrl-C. The schema must be current: see `migrate`. A process that sends
    e-mails needs BILLING_SMTP_URL, BILLING_MAIL_FROM and BILLING_INVITATION_URL.

    \b
    Examples:
      billing-server serve --listen 10.0.0.5:50051
      billing-server serve --no-worker
    """
    settings = command_settings(for_production=worker and not for_development)
    from server import process

    console.run(
        process.serve(settings, listen or f"127.0.0.1:{settings.grpc_port}", with_worker=worker)
    )


@click.command()
@dev_option
def worker(for_development: bool) -> None:
    """Send e-mails and webhooks alone.

    Runs until SIGTERM or Ctrl-C, and serves no calls. Needs BILLING_SMTP_URL, BILLING_MAIL_FROM and
    BILLING_INVITATION_URL.

    \b
    Example:
      billing-server worker
    """
    settings = command_settings(for_production=not for_development)
    from server import process

    console.run(process.work(settings))


@click.command()
@click.option("--listen", help="host:port; default 127.0.0.1 and BILLING_BOUNCE_PORT.")
def bounces(listen: str | None) -> None:
    """Receive e-mails that come back.

    Those to BILLING_BOUNCE_DOMAIN, by SMTP or LMTP, until SIGTERM or Ctrl-C.

    \b
    Example:
      billing-server bounces --listen 0.0.0.0:25
    """
    settings = command_settings()
    from server import process

    console.run(process.receive_bounces(settings, listen or f"127.0.0.1:{settings.bounce_port}"))


@click.command()
def gateway() -> None:
    """Run Envoy in front of the servers.

    Runs until SIGTERM or Ctrl-C. BILLING_SERVERS names the servers; default the one on this machine.

    \b
    Example:
      BILLING_SERVERS=10.0.0.5:50051,10.0.0.6:50051 billing-server gateway
    """
    settings = command_settings()
    from server import gateway_runner

    console.run(gateway_runner.serve_gateway(settings))
