"""Commands beside a running server, as people use them: in processes of their own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

import grpc
import pytest

from server.composition.bounces import start_bounce_receiver
from server.composition.storage import opened_storage
from server.config import Settings, SettingsError
from server.domain.access import Role
from server.process import listen_at
from server.storage import migrate
from tests.identity.served import RESELLER, Served, serving
from tests.service import ROOT

EDITOR = Role.EDITOR.value
OK = grpc.StatusCode.OK
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    settings = Settings(var=tmp_path / "var", rate_limit=0)
    async with serving(settings) as started:
        yield started


class Commands:
    """Runs command lines on a server's folder."""

    def __init__(self, var: Path) -> None:
        self._var = var

    async def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *words),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "BILLING_VAR": str(self._var)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return out.decode(), err.decode()


async def answered(served: Served, token: str, code: grpc.StatusCode) -> None:
    """Returns when a call is answered so. The server's clock stands: only a signal changes it."""
    async with asyncio.timeout(30):
        while await _code(served, token) is not code:
            pass


async def _code(served: Served, token: str) -> grpc.StatusCode:
    try:
        await served.call(token)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


async def test_a_program_is_let_in_and_out(served: Served, tmp_path: Path) -> None:
    command = Commands(served.settings.var)
    served.clock.at = datetime.now(UTC)
    await command("service-accounts", "add", "Nightly", "--id", "nightly")
    file = tmp_path / "key.json"
    await command("keys", "add", "nightly", "-o", str(file))
    key = json.loads(file.read_bytes())
    token = await served.token(key)
    await answered(served, token, PERMISSION_DENIED)
    await command("roles", "grant", "nightly", EDITOR, RESELLER)
    await answered(served, token, OK)
    await command("roles", "revoke", "nightly", EDITOR, RESELLER)
    await answered(served, token, PERMISSION_DENIED)
    await command("iam-keys", "rotate")
    await answered(served, token, PERMISSION_DENIED)
    await command("keys", "remove", key["id"])
    await answered(served, token, UNAUTHENTICATED)


async def test_a_reseller_is_suspended_and_resumed(served: Served) -> None:
    command = Commands(served.settings.var)
    token = await served.token(await served.account())
    await answered(served, token, OK)
    await command("resellers", "suspend", RESELLER)
    await answered(served, token, PERMISSION_DENIED)
    await command("resellers", "resume", RESELLER)
    await answered(served, token, OK)


async def test_errors_of_the_program_are_one_line(tmp_path: Path) -> None:
    command = Commands(tmp_path / "var")
    out, err = await command("resellers", "list", code=1)
    assert out == ""
    assert err.startswith("error: ")
    assert "migrate" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", ":1", " "])
async def test_a_server_listens_at_a_place(served: Served, listen: str) -> None:
    with pytest.raises(SettingsError, match="give host:port, or unix: and a path"):
        listen_at(served, listen)  # type: ignore[arg-type]  # it is not looked at


@pytest.mark.parametrize(
    ("listen", "told"),
    [
        ("nowhere.invalid:50051", "no name server knows nowhere.invalid"),
        (f"{'a' * 64}.example:50051", "no name server knows"),
        ("192.0.2.1:50051", "it is no address of this machine"),
        ("unix:/no/such/folder/server.sock", "needs to write to the socket's folder"),
    ],
)
async def test_why_a_server_can_not_listen_there(tmp_path: Path, listen: str, told: str) -> None:
    class Served:  # all of one that it uses
        server = grpc.aio.server()

    with pytest.raises(SettingsError, match=told) as refused:
        listen_at(Served(), listen)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"can't listen at {listen}: ")
    settings = Settings(var=tmp_path, bounce_domain="bounces.example.com")
    migrate(settings.database)
    async with opened_storage(settings) as storage:
        if listen.startswith("unix:"):
            told = "give host:port"
        with pytest.raises(SettingsError, match=told):
            await start_bounce_receiver(storage, settings, listen)


# A signal that comes when a process serves already, and still starts what watches over it.
_ASKED_WHILE_IT_STARTS = """
import os, signal
from server import commands, process

watched_by = process._Watched.by

def asked_first(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    return watched_by(*arguments)

process._Watched.by = asked_first
commands.main("billing-server")
"""


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--dev", "--listen", "127.0.0.1:0"),
        ("worker", "--dev"),
        ("bounces", "--listen", "127.0.0.1:0"),
    ],
    ids=itemgetter(0),
)
async def test_a_process_that_is_stopped_as_it_starts_ends_as_any(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Before, it was cut off in its work, and ended with the code of what failed."""
    migrate(Settings(var=tmp_path).database)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ASKED_WHILE_IT_STARTS, *words),
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "BILLING_VAR": str(tmp_path),
            "BILLING_BOUNCE_DOMAIN": "bounces.example.com",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
