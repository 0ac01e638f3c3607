"""`billing operations`, and how a command waits for one."""

import sys

import click
from google.longrunning import operations_pb2, operations_pb2_grpc
from rich.console import Console

from client.connection import Connection
from client.context import Context, filter_option, limit_option, output_option, with_context
from client.errors import ClientError
from client.output import Output, as_json, at

COLUMNS = {
    "OPERATION": "name",
    "DONE": "done",
    "CUSTOMER": "metadata.customer",
    "ERROR": "error.message",
    "CREATED": "metadata.createTime",
}


def finish(
    connection: Connection, operation: operations_pb2.Operation, output: Output, *, wait: bool
) -> None:
    """Prints an operation, or, having waited, its outcome; an operation that failed is an error."""
    if not wait:
        output.one(operation, COLUMNS)
        return
    operation = wait_for(connection, operation)
    if operation.HasField("error"):
        raise ClientError(f"{operation.name}: {operation.error.message}")
    output.one(operation, COLUMNS)


def wait_for(
    connection: Connection, operation: operations_pb2.Operation
) -> operations_pb2.Operation:
    """Returns the operation once it is done, and shows meanwhile what it waits for."""
    console = Console(stderr=True, highlight=False)
    told = ""

    def tell(now: operations_pb2.Operation) -> None:
        nonlocal told
        text = _progress(now)
        if console.is_terminal:
            status.update(text)
        elif text != told:
            sys.stderr.write(text + "\n")
        told = text

    with console.status("") as status:
        return connection.wait(operation, tell)


def _progress(operation: operations_pb2.Operation) -> str:
    delivery = as_json(operation).get("metadata", {})
    if error := at(delivery, "delivery.lastError.message"):
        again = at(delivery, "delivery.nextAttemptTime")
        return f"{operation.name}: {error}; next attempt at {again}"
    return f"{operation.name}: under way"


def full_name(given: str) -> str:
    """Returns the name of an operation that is given by its ID, or by that name."""
    return given if "/" in given else f"operations/{given}"


@click.group()
def operations() -> None:
    """See what is under way, wait for it, cancel it."""


@operations.command("list")
@filter_option("'done = false'")
@limit_option
@output_option
@with_context
def list_operations(context: Context, criteria: str, limit: int | None, output: Output) -> None:
    """List operations, newest first.

    \b
    Example:
      billing operations list --filter 'done = false'
    """
    connection = context.connection
    request = operations_pb2.ListOperationsRequest(name="operations", filter=criteria)
    stub = operations_pb2_grpc.OperationsStub(connection.channel)
    output.many(connection.pages(stub.ListOperations, request, "operations", limit), COLUMNS)


@operations.command("get")
@click.argument("operation")
@output_option
@with_context
def get_operation(context: Context, operation: str, output: Output) -> None:
    """Show an operation.

    \b
    Example:
      billing operations get bop3s5e0k9q7v2m1t4ab
    """
    connection = context.connection
    output.one(_get(connection, operation), COLUMNS)


@operations.command("wait")
@click.argument("operation")
@output_option
@with_context
def wait_operation(context: Context, operation: str, output: Output) -> None:
    """Wait until an operation is done, and show its outcome.

    The exit code is 1 where it failed.

    \b
    Example:
      billing operations wait bop3s5e0k9q7v2m1t4ab
    """
    connection = context.connection
    finish(connection, _get(connection, operation), output, wait=True)


@operations.command("cancel")
@click.argument("operation")
@with_context
def cancel_operation(context: Context, operation: str) -> None:
    """Cancel an operation.

    An invitation whose e-mail has not gone out is taken back.

    \b
    Example:
      billing operations cancel bop3s5e0k9q7v2m1t4ab
    """
    connection = context.connection
    stub = operations_pb2_grpc.OperationsStub(connection.channel)
    request = operations_pb2.CancelOperationRequest(name=full_name(operation))
    connection.call(stub.CancelOperation, request)
    click.echo(f"cancelled {full_name(operation)}")


def _get(connection: Connection, operation: str) -> operations_pb2.Operation:
    stub = operations_pb2_grpc.OperationsStub(connection.channel)
    request = operations_pb2.GetOperationRequest(name=full_name(operation))
    return connection.call(stub.GetOperation, request)
