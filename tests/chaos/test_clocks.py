"""A machine whose clock is set forward and back, beside one whose clock is right."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from tests.chaos.audit import audit
from tests.chaos.load import AcknowledgedCalls, Invite, by_grpc
from tests.chaos.postgres import Postgres
from tests.chaos.stack import Stack, beside
from tests.service import ROOT, eventually

# A server process whose clock is off by what a file says, in seconds. Calls between machines and
# waits go by the kernel's monotonic clock, which nobody sets.
_SKEWED_SERVER = """
import datetime, pathlib, sys
import server.__main__, server.commands, server.clock

file = pathlib.Path(sys.argv.pop(1))

class SkewedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=float(file.read_text()))

server.clock.datetime = SkewedDatetime
server.__main__.main()
"""
_DAY_S = 86_400
_NEAR = timedelta(seconds=15)


@contextmanager
def machine(running: Stack, folder: Path) -> Iterator[tuple[Path, str]]:
    """Runs one more server process; gives the file that sets its clock, and its address."""
    clock, address = folder / "clock", f"unix:{running.service.var}/run/off.sock"
    clock.write_text("0")
    env = beside(running.service.environment)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _SKEWED_SERVER,
                str(clock),
                "serve",
                "--dev",
                "--listen",
                address,
            ],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        socket = Path(address.removeprefix("unix:"))
        eventually(socket.exists)
        yield clock, address
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (folder / "log").read_text()


def set_clock(clock: Path, seconds: int) -> None:
    """Sets it as a whole: its reader looks at any moment."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(clock)


async def _finished(
    running: Stack, channel: grpc.aio.Channel, send: Invite, calls: AcknowledgedCalls
) -> Any:
    body = running.service.invitation()
    answer = await send(body, None)
    assert answer.operation, answer.refusal
    calls.acknowledge(body["invitationEmail"], answer)
    stub: Any = operations_pb2_grpc.OperationsStub(channel)
    request = operations_pb2.WaitOperationRequest(name=f"operations/{answer.operation['id']}")
    request.timeout.FromSeconds(60)
    ended = await stub.WaitOperation(request, metadata=running.service.metadata)
    assert ended.done
    assert not ended.HasField("error")
    return answer.operation


async def test_a_clock_that_is_set_back_and_forward_loses_nothing(
    running: Stack, database: Postgres | None, tmp_path: Path
) -> None:
    """Each invitation is sent, at whichever machine it came in, whichever of them sends it.

    On PostgreSQL both go by its clock.
    """
    calls = AcknowledgedCalls()
    with machine(running, tmp_path) as (clock, address):
        async with (
            grpc.aio.insecure_channel(address) as wrong,
            grpc.aio.insecure_channel(running.service.grpc) as right,
        ):
            # On SQLite there is one machine: what its clock does in small, the work waits for.
            small_s = 60 if database else 3600
            for off in (0, -_DAY_S, _DAY_S, -small_s, small_s, 0):
                set_clock(clock, off)
                for channel in (wrong, right):
                    send = by_grpc(channel, running.service)
                    asked = datetime.now(UTC)
                    begun = [_finished(running, channel, send, calls) for _ in range(5)]
                    (first, *_) = await asyncio.gather(*begun)
                    at = datetime.fromisoformat(first["createdAt"])
                    is_off = channel is wrong and database is None
                    # However long the e-mails took since.
                    at -= timedelta(seconds=off if is_off else 0)
                    assert asked - _NEAR < at < datetime.now(UTC) + _NEAR
    assert len(calls.acknowledged) == 60
    found = await asyncio.to_thread(audit, running, calls)
    assert not found.wrong
