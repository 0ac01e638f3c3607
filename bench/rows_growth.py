"""Row 7: what calls cost as the database grows, and how large it becomes."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copyfile

from bench.load import Job, generator
from bench.measure import Row, Sample, Scale, cpu, format_medians, interleaved, ratio, sample
from bench.requests import LIST, PERSON, lists
from bench.rows_calls import get_job, invite_job
from bench.service import RESELLER, TOKEN, prepare, server, settings
from server.config import Settings
from server.domain.access import Actor
from server.domain.invitations import invite, link_token_hash, new_link_token
from server.storage import open_storage
from server.storage.interface import IdempotencyKey
from server.storage.invitations.links import link_number

Step = Callable[[str], None]

_AT_ONCE = 128
_CHUNK = 10_000
_CLAIM = 16
_CLAIMS = 250
# What the worker leaves of an invitation whose e-mail has been sent.
_SENT = (
    """
    INSERT INTO link_tokens (n, hash, customer, operation, created_at)
    SELECT link_number(hash), hash, customer, n, created_at FROM (
      SELECT link_hash() AS hash, customer, n, created_at FROM operations WHERE NOT done
    )
    """,
    "UPDATE operations SET done = 1, due_at = NULL, attempts = 1 WHERE NOT done",
)


def growth(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 7: Invite, Get, List and claim."""
    databases = _filled(folder, scale, step)
    files = {size: chosen.var / "billing.db" for size, chosen in databases.items()}
    bytes_each = {size: file.stat().st_size / size for size, file in files.items()}
    rows = []
    with ExitStack() as parts:
        reads: dict[str, dict[str, Callable[[], Sample]]] = {}
        for size, chosen in databases.items():
            program, address = parts.enter_context(server(chosen))
            load = parts.enter_context(generator(address))
            page = Job(
                LIST,
                scale.calls // 10,
                scale.at_once,
                TOKEN,
                bodies=[body.hex() for body in lists(RESELLER, 100)],
            )
            for name, job in (
                ("Operation Get", get_job(scale, _ids(files[size], size))),
                ("List (100 a page)", page),
            ):
                reads.setdefault(name, {})[_named(size)] = partial(
                    sample, [program], partial(load.run, job)
                )
        for name, by_size in reads.items():
            rows.append(_row(name, 1.1, scale, interleaved(by_size, scale.rounds, step)))
    # What is measured makes the database grow, so a small one is made anew each time.
    smallest = databases[scale.customers[0]].var
    kept = copyfile(smallest / "billing.db", folder / "smallest.db")
    for name, goal, measure in (
        ("Invite", 1.15, partial(_invited, scale)),
        ("claim of an e-mail", 1.1, _claimed),
    ):
        writes = {
            _named(size): partial(measure, chosen, kept if size == scale.customers[0] else None)
            for size, chosen in databases.items()
        }
        found = interleaved(writes, scale.rounds, step)
        rows.append(_row(name, goal, scale, found))
    rows.append(_bytes_row(scale, bytes_each))
    return rows


def _invited(scale: Scale, chosen: Settings, kept: Path | None) -> Sample:
    """Measures Invites from a fresh server, after some that are not counted."""
    if kept:
        copyfile(kept, chosen.var / "billing.db")
    with server(chosen) as (program, address), generator(address) as load:
        load.run(invite_job(scale, scale.calls // 6))
        return sample([program], partial(load.run, invite_job(scale, scale.calls * 2 // 3)))


def _row(name: str, goal: float, scale: Scale, found: Mapping[str, Sequence[Sample]]) -> Row:
    first, last = (found[_named(scale.customers[place])] for place in (0, -1))
    return Row(
        "7",
        f"{name} with {_named(scale.customers[-1])} against {_named(scale.customers[0])}: CPU per call",
        *ratio(cpu(last), cpu(first)),
        goal=goal,
        ours=format_medians(last),
        baseline=format_medians(first),
        meaning="What growth costs.",
        samples=found,
    )


def _bytes_row(scale: Scale, bytes_each: Mapping[int, float]) -> Row:
    smallest, *_, largest = scale.customers
    each = bytes_each[largest]
    return Row(
        "7",
        f"Size of the database at {_named(largest)}: bytes a customer",
        *(each, each, each),
        goal=800,
        ours=f"{each:,.0f} bytes",
        baseline=f"{bytes_each[smallest]:,.0f} bytes at {smallest:,}",
        meaning="What a customer takes with its invitation, operation and link.",
        samples={"bytes a customer": bytes_each},
    )


def _named(size: int) -> str:
    return f"{size:,} customers"


def _filled(folder: Path, scale: Scale, step: Step) -> dict[int, Settings]:
    """Returns a database of each size: invited through the storage, their e-mails sent."""
    growing = settings(folder / "growing")
    prepare(growing)
    filled = {}
    have = 0
    for size in scale.customers:
        while have < size:
            step(f"filling: {have:,} of {scale.customers[-1]:,} customers")
            more = min(_CHUNK, size - have)
            asyncio.run(_invite(growing, more))
            with closing(sqlite3.connect(growing.var / "billing.db")) as database, database:
                database.create_function("link_hash", 0, lambda: link_token_hash(new_link_token()))
                database.create_function("link_number", 1, link_number, deterministic=True)
                for statement in _SENT:
                    database.execute(statement)
            have += more
        with closing(sqlite3.connect(growing.var / "billing.db")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        filled[size] = settings(folder / f"of-{size}")
        filled[size].var.mkdir()
        copyfile(growing.var / "billing.db", filled[size].var / "billing.db")
    return filled


async def _invite(chosen: Settings, count: int) -> None:
    storage = await open_storage(chosen.database, idempotency_lifetime=chosen.idempotency_lifetime)
    numbers: Iterator[int] = iter(range(count))

    async def caller() -> None:
        for _ in numbers:
            unique = uuid.uuid4()
            new = invite(
                reseller_id=RESELLER,
                name="Horns and Hooves",
                email=f"customer-{unique.hex}@example.com",
                person=PERSON,
                actor=Actor("bench"),
                now=datetime.now(UTC),
                lifetime=timedelta(days=30),
            )
            await storage.invitations.create_invitation(
                new, IdempotencyKey(unique.bytes, unique.bytes)
            )

    await asyncio.gather(*(caller() for _ in range(_AT_ONCE)))
    await storage.close()


def _ids(file: Path, size: int) -> list[str]:
    """Returns a thousand operations from all over the database."""
    with closing(sqlite3.connect(file)) as database:
        found = database.execute(
            "SELECT 'bop' || substr(id, 4) FROM customers WHERE n % ? = 0", (max(1, size // 1000),)
        )
        return [id_ for (id_,) in found]


def _claimed(chosen: Settings, kept: Path | None) -> Sample:
    """Claims e-mails as the worker does and records that they have been sent."""
    if kept:
        copyfile(kept, chosen.var / "billing.db")
    asyncio.run(_invite(chosen, _CLAIM * _CLAIMS))

    async def work() -> Sample:
        storage = await open_storage(
            chosen.database, idempotency_lifetime=chosen.idempotency_lifetime
        )
        count = 0
        latencies = []
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(_CLAIMS):
            claimed_at = time.perf_counter()
            claimed = await storage.mail.claim_deliveries(
                _CLAIM, datetime.now(UTC), timedelta(seconds=60)
            )
            latencies.append((time.perf_counter() - claimed_at) * 1000)
            await asyncio.gather(
                *(storage.mail.finish_delivery(each, datetime.now(UTC)) for each in claimed)
            )
            count += len(claimed)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        await storage.close()
        latencies.sort()
        return Sample(
            calls=count,
            per_s=count / seconds,
            p50_ms=latencies[len(latencies) // 2],
            p99_ms=latencies[-1],
            cpu_us={"worker": cpu_s / count * 1e6},
        )

    return asyncio.run(work())
