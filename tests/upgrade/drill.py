"""An upgrade under load: servers of an earlier release, `migrate` of this one, then one server after
the other replaced by one of this release. No call may fail, and nothing acknowledged may be lost."""

import asyncio
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import httpx

from bench.service import RESELLER, TOKEN, healthy
from server.storage.schema.tables import REVISION
from tests.service import ROOT, environment, free_ports
from tests.storage.databases import query

_MIGRATIONS = "server/storage/schema/migrations/versions"
_PREPARE = (
    "import pathlib, sys; from bench.service import prepare, settings; "
    "prepare(settings(pathlib.Path(sys.argv[1]), sys.argv[2]))"
)


@dataclass
class Outcome:
    """What callers were told: operations by their IDs, and how often each answer came."""

    acknowledged: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        return {answer: count for answer, count in self.answers.items() if answer[-3:] != "200"}


def release_before() -> str:
    """Returns the latest commit with an earlier schema; raises CalledProcessError without history."""
    added = _git("log", "-1", "--format=%H", "--diff-filter=A", "--", _MIGRATIONS).decode().strip()
    return _git("rev-parse", f"{added}^").decode().strip()


def unpack(commit: str, folder: Path) -> Path:
    """Puts a release's files into a folder, and returns it."""
    with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


async def drill(
    old: Path, folder: Path, database_url: str = "", load_s: float = 1.0, callers: int = 4
) -> Outcome:
    """Upgrades from the release in `old`; callers are at work `load_s` before and after each step."""
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    env = environment(
        folder,
        servers=f"{first},{second}",
        database_url=database_url,
        rate_limit=0,
        mail_per_reseller_h=1_000_000,
        mail_per_reseller_d=1_000_000,
    )
    url = database_url or f"sqlite:///{folder / 'billing.db'}"
    await _run(old, env, "-c", _PREPARE, str(folder), database_url)
    outcome = Outcome()
    async with AsyncExitStack() as parts:
        await asyncio.gather(*(_serve(parts, old, env, address) for address in (first, second)))
        # The gateway comes first or last in an upgrade; that of this release knows all that callers use.
        await parts.enter_async_context(_process(ROOT, env, "gateway"))
        rest = f"http://127.0.0.1:{env['BILLING_HTTP_PORT']}"
        await _until(lambda: _answers(rest), "the gateway")
        async with _callers(rest, outcome, callers):
            await asyncio.sleep(load_s)
            await _run(ROOT, env, "-m", "server", "migrate")
            await asyncio.sleep(load_s)
            for address in (first, second):
                await _replace(parts, env, address)
                await asyncio.sleep(load_s)
    known = {id_ for (id_,) in query(url, _OPERATIONS)}
    outcome.lost = [id_ for id_ in outcome.acknowledged if id_ not in known]
    await _run(ROOT, env, "-m", "server", "check")
    await _require_refusal(old, env, first)
    return outcome


# An operation that made a customer has an ID that ends like the customer's.
_OPERATIONS = (
    "SELECT coalesce(o.id, 'bop' || substr(c.id, 4)) FROM operations o "
    "LEFT JOIN customers c ON c.n = o.customer"
)
_processes: dict[str, asyncio.subprocess.Process] = {}


async def _serve(parts: AsyncExitStack, code: Path, env: dict[str, str], address: str) -> None:
    words = ("serve", "--dev", "--no-worker", "--listen", address)
    _processes[address] = await parts.enter_async_context(_process(code, env, *words))
    await _until(lambda: asyncio.to_thread(healthy, address), f"the server at {address}")


async def _replace(parts: AsyncExitStack, env: dict[str, str], address: str) -> None:
    _processes[address].terminate()
    await asyncio.wait_for(_processes[address].wait(), 60)
    await _serve(parts, ROOT, env, address)
    await asyncio.sleep(1)  # until the gateway, which looks twice a second, has it back


@asynccontextmanager
async def _process(
    code: Path, env: dict[str, str], *words: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with (Path(env["BILLING_VAR"]) / "drill.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *words),
            cwd=code,
            env=_of_release(code, env),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)


async def _require_refusal(old: Path, env: dict[str, str], address: str) -> None:
    """Raises AssertionError unless the earlier release refuses to start, and says why in one line."""
    try:
        await _run(old, env, "-m", "server", "serve", "--dev", "--listen", address)
    except RuntimeError as error:
        said = str(error).splitlines()
        assert f"version {REVISION}, and this server works with" in said[-1], said
    else:
        raise AssertionError("the earlier release served a later schema")


async def _run(code: Path, env: dict[str, str], *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        cwd=code,
        env=_of_release(code, env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {said.decode()}")


def _of_release(code: Path, env: dict[str, str]) -> dict[str, str]:
    return {**env, "PYTHONPATH": f"{code}:{code / 'gen'}"}


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 60
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.1)


async def _answers(rest: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            answer = await client.get(f"{rest}/operations/none", headers=_HEADERS)
        except httpx.TransportError:
            return False
        return answer.status_code == 404


_HEADERS = {"authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def _callers(rest: str, outcome: Outcome, count: int) -> AsyncIterator[None]:
    """Has callers invite and read while the block runs; each ends with its last answer."""
    stop = asyncio.Event()

    async def ask(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> str:
        try:
            answer = await client.request(method, path, json=body)
        except httpx.TransportError as error:
            outcome.answers[f"{method} {type(error).__name__}"] += 1
            return ""
        outcome.answers[f"{method} {answer.status_code}"] += 1
        return str(answer.json().get("id", ""))

    async def call(number: int) -> None:
        async with httpx.AsyncClient(base_url=rest, headers=_HEADERS, timeout=20) as client:
            done = 0
            while not stop.is_set():
                done += 1
                body = {
                    "resellerId": RESELLER,
                    "name": "Ada",
                    "invitationEmail": f"ada-{number}-{done}@example.com",
                    "person": {"name": "Ada", "tin": "7707083893"},
                }
                id_ = await ask(client, "POST", "/billing/v1/customers:invite", body)
                if id_:
                    outcome.acknowledged.append(id_)
                    await ask(client, "GET", f"/operations/{id_}")
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(call(number))
        try:
            yield
        finally:
            stop.set()
