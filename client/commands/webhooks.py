"""`billing webhooks`: who is told of events, and how that went."""

import click
from billing.v1 import webhook_pb2, webhook_service_pb2, webhook_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from client.context import Context, key_option, limit_option, output_option, with_context
from client.output import Output

COLUMNS = {
    "WEBHOOK": "name",
    "URL": "url",
    "STATE": "state",
    "BACKLOG": "backlog",
    "LAST SUCCESS": "lastSuccessTime",
}
_ATTEMPTS = {
    "EVENT": "event",
    "TIME": "time",
    "STATUS": "status",
    "ERROR": "error",
    "NEXT TRY": "nextTryTime",
}


def _stub(context: Context) -> webhook_service_pb2_grpc.WebhookServiceStub:
    return webhook_service_pb2_grpc.WebhookServiceStub(context.connection.channel)


def _name(context: Context, webhook: str) -> str:
    return context.connection.name("webhooks", webhook)


@click.group()
def webhooks() -> None:
    """Have events sent to a URL, and see how that goes."""


@webhooks.command("list")
@limit_option
@output_option
@with_context
def list_webhooks(context: Context, limit: int | None, output: Output) -> None:
    """List webhooks.

    \b
    Example:
      billing webhooks list
    """
    connection = context.connection
    request = webhook_service_pb2.ListWebhooksRequest(parent=connection.reseller)
    output.many(connection.pages(_stub(context).ListWebhooks, request, "webhooks", limit), COLUMNS)


@webhooks.command("get")
@click.argument("webhook")
@output_option
@with_context
def get_webhook(context: Context, webhook: str, output: Output) -> None:
    """Show a webhook.

    \b
    Example:
      billing webhooks get WEBHOOK
    """
    request = webhook_service_pb2.GetWebhookRequest(name=_name(context, webhook))
    output.one(context.connection.call(_stub(context).GetWebhook, request), COLUMNS)


@webhooks.command("create")
@click.argument("url")
@click.option(
    "--type", "types", multiple=True, help="Only events of this type; may be repeated; default all."
)
@click.option("--description", default="", help="What it is for.")
@click.option("--alert-email", default="", help="The address that is told when deliveries fail.")
@key_option
@output_option
@with_context
def create_webhook(
    context: Context,
    url: str,
    types: tuple[str, ...],
    description: str,
    alert_email: str,
    key: str,
    output: Output,
) -> None:
    """Have events sent to a URL.

    The answer alone shows the secret that they are signed with.

    \b
    Example:
      billing webhooks create https://example.com/hook --type invitation.accepted
    """
    request = webhook_service_pb2.CreateWebhookRequest(
        parent=context.connection.reseller,
        webhook=webhook_pb2.Webhook(
            url=url, types=types, description=description, alert_email=alert_email
        ),
    )
    output.one(context.connection.call(_stub(context).CreateWebhook, request, key=key), COLUMNS)


@webhooks.command("update")
@click.argument("webhook")
@click.option("--url", help="Where events are sent from now on; it must answer a test first.")
@click.option(
    "--type", "types", multiple=True, help="The types in place of those so far; may be repeated."
)
@click.option("--description", help="What it is for.")
@click.option("--alert-email", help="The address that is told when deliveries fail.")
@click.option("--enable/--disable", default=None, help="Send events, or stop it.")
@output_option
@with_context
def update_webhook(
    context: Context,
    webhook: str,
    url: str | None,
    types: tuple[str, ...],
    description: str | None,
    alert_email: str | None,
    enable: bool | None,
    output: Output,
) -> None:
    """Change a webhook: what is not given stays.

    \b
    Example:
      billing webhooks update WEBHOOK --disable
    """
    state = None
    if enable is not None:
        states = webhook_pb2.Webhook
        state = states.ENABLED if enable else states.DISABLED
    given = {
        "url": url,
        "types": types or None,
        "description": description,
        "alert_email": alert_email,
        "state": state,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("say what to change")
    request = webhook_service_pb2.UpdateWebhookRequest(
        webhook=webhook_pb2.Webhook(name=_name(context, webhook), **changes),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=list(changes)),
    )
    output.one(context.connection.call(_stub(context).UpdateWebhook, request), COLUMNS)


@webhooks.command("delete")
@click.argument("webhook")
@with_context
def delete_webhook(context: Context, webhook: str) -> None:
    """Delete a webhook: it gets no more events.

    \b
    Example:
      billing webhooks delete WEBHOOK
    """
    request = webhook_service_pb2.DeleteWebhookRequest(name=_name(context, webhook))
    context.connection.call(_stub(context).DeleteWebhook, request)
    click.echo(f"deleted {request.name}")


@webhooks.command("test")
@click.argument("webhook")
@with_context
def test_webhook(context: Context, webhook: str) -> None:
    """Send a webhook a test event.

    \b
    Example:
      billing webhooks test WEBHOOK
    """
    request = webhook_service_pb2.TestWebhookRequest(name=_name(context, webhook))
    click.echo(f"sent {context.connection.call(_stub(context).TestWebhook, request).event}")


@webhooks.command("rotate-secret")
@click.argument("webhook")
@click.option(
    "--overlap-h",
    type=click.IntRange(0, 168),
    help="Hours for which the old secret signs too; default 24.",
)
@output_option
@with_context
def rotate_secret(context: Context, webhook: str, overlap_h: int | None, output: Output) -> None:
    """Make a new secret; the answer alone shows it.

    \b
    Example:
      billing webhooks rotate-secret WEBHOOK --overlap-h 24
    """
    request = webhook_service_pb2.RotateWebhookSecretRequest(name=_name(context, webhook))
    if overlap_h is not None:
        request.overlap.CopyFrom(Duration(seconds=overlap_h * 3600))
    output.one(context.connection.call(_stub(context).RotateWebhookSecret, request), COLUMNS)


@webhooks.command("redeliver")
@click.argument("webhook")
@click.option(
    "--after", help="All events after the one with this ID; '' for all that the log still has."
)
@click.option("--event", help="The event with this ID alone.")
@output_option
@with_context
def redeliver(
    context: Context, webhook: str, after: str | None, event: str | None, output: Output
) -> None:
    """Send events again: all after one, or one.

    \b
    Example:
      billing webhooks redeliver WEBHOOK --after EVENT
    """
    if (after is None) == (event is None):
        raise click.UsageError("give one of --after and --event")
    request = webhook_service_pb2.RedeliverEventsRequest(name=_name(context, webhook))
    if after is not None:
        request.after = after
    if event is not None:
        request.event = event
    output.one(context.connection.call(_stub(context).RedeliverEvents, request), COLUMNS)


@webhooks.command("attempts")
@click.argument("webhook")
@limit_option
@output_option
@with_context
def list_attempts(context: Context, webhook: str, limit: int | None, output: Output) -> None:
    """List the latest tries to deliver, newest first.

    \b
    Example:
      billing webhooks attempts WEBHOOK --limit 20
    """
    connection = context.connection
    request = webhook_service_pb2.ListWebhookAttemptsRequest(parent=_name(context, webhook))
    pages = connection.pages(_stub(context).ListWebhookAttempts, request, "attempts", limit)
    output.many(pages, _ATTEMPTS)
