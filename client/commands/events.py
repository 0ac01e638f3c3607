"""`billing events`: what happened, as it was and as it happens."""

import json
import sys
import time
from collections.abc import Callable, Iterator

import click
import grpc
from billing.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc

from client import errors
from client.connection import Connection
from client.context import Context, filter_option, limit_option, output_option, with_context
from client.forwarding import Forwarder
from client.output import Output, as_json, at
from client.tables import for_people, printable

COLUMNS = {
    "EVENT": "name",
    "TYPE": "type",
    "TIME": "createTime",
    "CUSTOMER": "customer",
    "BY": "actor.subject",
}
# Of the columns, in a terminal: IDs, types and times fit in.
_WIDTHS = (23, 28, 16, 20, 0)
_LONGEST_PAUSE_S = 30.0


def _stub(connection: Connection) -> event_service_pb2_grpc.EventServiceStub:
    return event_service_pb2_grpc.EventServiceStub(connection.channel)


@click.group()
def events() -> None:
    """See what happened, and be told of what happens."""


@events.command("list")
@click.option("--after", default="", help="Only what came after this event, given by its ID.")
@filter_option("'type = invitation.accepted'")
@limit_option
@output_option
@with_context
def list_events(
    context: Context, after: str, criteria: str, limit: int | None, output: Output
) -> None:
    """List events, oldest first.

    \b
    Example:
      billing events list --filter 'type = invitation.accepted' --limit 20
    """
    connection = context.connection
    request = event_service_pb2.ListEventsRequest(
        parent=connection.reseller, after=after, filter=criteria
    )
    pages = connection.pages(_stub(connection).ListEvents, request, "events", limit)
    output.many(pages, COLUMNS)


@events.command("watch")
@click.option(
    "--after",
    default="latest",
    show_default=True,
    help="Go on after this event, given by its ID; '' begins with the oldest.",
)
@filter_option("'type = invitation.accepted'")
@click.option(
    "--forward-to",
    metavar="URL",
    help="Send each event there, signed, as a webhook would; for a developer's machine.",
)
@click.option("--limit", type=click.IntRange(min=1), help="End after this many; default never.")
@output_option
@with_context
def watch_events(
    context: Context,
    after: str,
    criteria: str,
    forward_to: str | None,
    limit: int | None,
    output: Output,
) -> None:
    """Show events as they happen, until Ctrl-C.

    It goes on by itself when the connection breaks.

    \b
    Examples:
      billing events watch
      billing events watch --after '' --output json
      billing events watch --forward-to http://localhost:3000/hook
    """
    connection = context.connection
    forwarder = (
        Forwarder(forward_to, connection.endpoint, connection.reseller) if forward_to else None
    )
    if forwarder:
        click.echo(f"signing with {forwarder.secret}: give that to your receiver", err=True)
    for count, event in enumerate(watched(connection, after, criteria), start=1):
        if forwarder:
            forwarder.forward(event)
        elif output.form == "table":
            click.echo(_line(event))
        else:
            click.echo(json.dumps(as_json(event), ensure_ascii=False))
        if count == limit:
            return


def _line(event: event_pb2.Event) -> str:
    """Returns an event as a line, for people or, where there is no terminal, for programs."""
    content = as_json(event)
    values = [printable(at(content, path)) for path in COLUMNS.values()]
    if not sys.stdout.isatty():
        return "\t".join(values)
    return "  ".join(
        f"{for_people(value):{width}}" for value, width in zip(values, _WIDTHS, strict=True)
    ).rstrip()


def watched(
    connection: Connection,
    after: str,
    criteria: str,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[event_pb2.Event]:
    """Yields events as they happen, each once, going on where a stream broke off."""
    failures = 0
    while True:
        request = event_service_pb2.WatchEventsRequest(
            parent=connection.reseller, after=after, filter=criteria
        )
        try:
            for message in connection.stream(_stub(connection).WatchEvents, request):
                failures = 0
                after = message.position or after
                if message.HasField("event"):
                    yield message.event
        except grpc.RpcError as error:
            code = error.code()
            renewed = (
                code is grpc.StatusCode.UNAUTHENTICATED and not failures and connection.renew()
            )
            passes = code in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            ) and not errors.is_untrusted(error)
            if not renewed and not passes:
                raise errors.of_call(error, connection.endpoint) from None
            failures += 1
            if failures == 1 and not renewed:
                click.echo(f"{errors.of_call(error, connection.endpoint)}; going on", err=True)
            pause(errors.retry_after_s(error) or min(_LONGEST_PAUSE_S, 0.5 * 2 ** min(failures, 6)))
