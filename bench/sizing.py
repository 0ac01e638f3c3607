"""What each call and background job costs PostgreSQL: `python -m bench.sizing`, some minutes.

Prints a table as docs/operators/sizing.md has it, for each call alone in its transaction and for 64
that come at once. Pages are what was looked at in shared buffers and read, bytes those of the log
that a standby gets (WAL), CPU that of PostgreSQL's processes for the connections, and of ours.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from tqdm import tqdm

from bench.dependencies import postgres
from server.domain.invitations import InvitationAction, NewInvitation, link_token_hash, resend
from server.storage import migrate
from server.storage.interface import Delivery
from server.storage.interface.webhooks import DeliveryAttempt
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    RESELLER,
    START,
    invitations,
    key,
    new,
    opened,
)
from tests.storage.webhooks.records import add_webhook

ALONE, TOGETHER = 1, 64
_LATER = START + timedelta(hours=1)
_TRIES = 640
# Invitations that are there before, so that indexes have their levels.
_BEFORE = 5_000

# Does something, so many at once; returns how often.
Work = Callable[[SqlStorage, int], Awaitable[int]]


class Cost(NamedTuple):
    """Of one call, or of all of a run."""

    postgres_us: float
    ours_us: float
    pages: float
    wal_bytes: float
    commits: float


async def _each(calls: Sequence[Callable[[], Awaitable[object]]], at_once: int) -> int:
    for start in range(0, len(calls), at_once):
        await asyncio.gather(*(call() for call in calls[start : start + at_once]))
    return len(calls)


class Calls:
    """The calls in the order in which an invitation lives."""

    def __init__(self) -> None:
        self.made: list[NewInvitation] = []
        self.sent: list[Delivery] = []
        self.now = START

    async def invite(self, storage: SqlStorage, at_once: int) -> int:
        self.made = made = [new() for _ in range(_TRIES)]
        return await _each(
            [
                partial(storage.invitations.create_invitation, one, key(one.operation.id))
                for one in made
            ],
            at_once,
        )

    async def get(self, storage: SqlStorage, at_once: int) -> int:
        ids = [one.operation.id for one in self.made]
        return await _each([partial(storage.operations.get_operation, id_) for id_ in ids], at_once)

    async def list_newest(self, storage: SqlStorage, at_once: int) -> int:
        call = partial(storage.invitations.list_invitations, invitations(), START, 100, None)
        return await _each([call] * (_TRIES // 4), at_once)

    async def send(self, storage: SqlStorage, at_once: int) -> int:
        self.sent = []
        while due := await storage.mail.claim_deliveries(at_once, self.now, LEASE):
            await asyncio.gather(*(storage.mail.finish_delivery(each, self.now) for each in due))
            self.sent += due
        return len(self.sent)

    async def deliver(self, storage: SqlStorage, at_once: int) -> int:
        attempt = DeliveryAttempt(_LATER, timedelta(milliseconds=20), 204, "")
        count = 0
        deliveries = storage.deliveries
        await deliveries.wait_for_webhook_deliveries(_LATER, timedelta(seconds=1))
        while due := await deliveries.claim_webhook_deliveries(at_once, _LATER, LEASE):
            await asyncio.gather(
                *(deliveries.finish_webhook_delivery(each, attempt) for each in due)
            )
            count += len(due)
        return count

    async def accept(self, storage: SqlStorage, at_once: int) -> int:
        secrets = [link_token_hash(each.link_token) for each in self.sent[: _TRIES // 2]]
        return await _each(
            [
                partial(
                    storage.invitations.answer_invitation,
                    secret,
                    InvitationAction.ACCEPT,
                    _LATER,
                    ACTOR,
                    None,
                )
                for secret in secrets
            ],
            at_once,
        )

    async def send_again(self, storage: SqlStorage, at_once: int) -> int:
        answered = {each.invitation_id for each in self.sent[: _TRIES // 2]}
        pending = [one for one in self.made if one.invitation.id not in answered]
        until = _LATER + INVITATION_LIFETIME
        self.now = _LATER

        def call(one: NewInvitation) -> Awaitable[object]:
            operation = resend(one.customer, resent_by=ACTOR.subject, now=_LATER)
            return storage.invitations.resend_invitation(
                one.invitation.id, operation, until, timedelta(minutes=1), ACTOR, None
            )

        return await _each([partial(call, one) for one in pending], at_once)

    async def read_log(self, storage: SqlStorage, at_once: int) -> int:
        last = (await storage.events.get_log_bounds(RESELLER)).last
        call = partial(storage.events.list_events, RESELLER, last - 100, None, 100)
        return await _each([call] * (_TRIES // 4), at_once)

    async def expire(self, storage: SqlStorage, at_once: int) -> int:
        late, count = _LATER + 2 * INVITATION_LIFETIME, 0
        while found := await storage.retention.expire_invitations(late, at_once):
            count += found
        return count

    async def clear(self, storage: SqlStorage, at_once: int) -> int:
        """What is cleared of an invitation once it has ended and grown old."""
        late, retention = START + 1000 * DAY, storage.retention
        count = 0
        for clear in (
            retention.clear_idempotency_keys,
            retention.clear_operations,
            retention.clear_links,
            retention.clear_events,
            retention.clear_attempts,
        ):
            while found := await clear(late, at_once):
                count += found
        return count


# What there is to measure, by the name that the table has for it; each leaves what the next one needs.
_STEPS: dict[str, Callable[[Calls], Work]] = {
    "Invite": lambda calls: calls.invite,
    "Operation Get": lambda calls: calls.get,
    "ListInvitations, 100 a page": lambda calls: calls.list_newest,
    "an e-mail: claimed, recorded as sent": lambda calls: calls.send,
    "an answer by the link": lambda calls: calls.accept,
    "ResendInvitation": lambda calls: calls.send_again,
    "its e-mail": lambda calls: calls.send,
    "ListEvents, 100 a page": lambda calls: calls.read_log,
    "an event to a webhook": lambda calls: calls.deliver,
    "an expiry": lambda calls: calls.expire,
    "a row that is cleared": lambda calls: calls.clear,
}


async def _nothing(_storage: SqlStorage, _at_once: int) -> int:
    return 1


class Meter:
    """Reads what PostgreSQL and this process have used so far."""

    def __init__(self, url: str) -> None:
        self._url = url
        ((folder,),) = query(url, "SHOW data_directory")
        postmaster = int((Path(folder) / "postmaster.pid").read_text().split()[0])
        self._postmaster = psutil.Process(postmaster)
        self._own = psutil.Process()

    def read(self) -> Cost:
        """Once all connections are closed: only then does PostgreSQL count all they did."""
        others = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        while query(self._url, others) != [(0,)]:
            pass
        ((pages, commits),) = query(
            self._url,
            "SELECT blks_hit + blks_read, xact_commit FROM pg_stat_database "
            "WHERE datname = current_database()",
        )
        ((wal,),) = query(self._url, "SELECT pg_current_wal_insert_lsn() - '0/0'")
        theirs, own = self._postmaster.cpu_times(), self._own.cpu_times()
        return Cost(
            (theirs.children_user + theirs.children_system) * 1e6,
            (own.user + own.system) * 1e6,
            float(pages),
            float(wal),
            float(commits),
        )


def _measure(url: str, meter: Meter, work: Work, at_once: int) -> tuple[int, Cost]:
    """Returns how much was done, and what all of it cost."""

    async def run() -> int:
        async with opened(url) as storage:
            return await work(storage, at_once)

    before = meter.read()
    count = asyncio.run(run())
    return count, _difference(meter.read(), before)


def _difference(after: Cost, before: Cost) -> Cost:
    return Cost(*(one - other for one, other in zip(after, before, strict=True)))


async def _prepare(url: str) -> None:
    async with opened(url) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        for start in range(0, _BEFORE, 1000):
            made = [new(now=START - DAY + timedelta(seconds=start)) for _ in range(1000)]
            await asyncio.gather(
                *(storage.invitations.create_invitation(one, None) for one in made)
            )
        await Calls().send(storage, 1000)
        await add_webhook(storage)


def main() -> int:
    argparse.ArgumentParser("python -m bench.sizing", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as url:
        # It would be counted whenever it works; instead it is done before each step.
        query(url, "ALTER SYSTEM SET autovacuum = off")
        # How long a disk takes is no part of what is measured.
        query(url, "ALTER SYSTEM SET fsync = off")
        query(url, "SELECT pg_reload_conf()")
        migrate(url)
        asyncio.run(_prepare(url))
        meter = Meter(url)
        found = {
            (name, at_once): cost
            for at_once in (ALONE, TOGETHER)
            for name, cost in _costs(url, meter, at_once)
        }
    print("| | at once | CPU, PostgreSQL | CPU, ours | pages | WAL | commits |")
    print("|---|---|---|---|---|---|---|")
    for name in _STEPS:
        for at_once in (ALONE, TOGETHER):
            cost = found[name, at_once]
            print(
                f"| {name} | {at_once} | {cost.postgres_us:.0f} us | {cost.ours_us:.0f} us "
                f"| {cost.pages:.1f} | {cost.wal_bytes:,.0f} | {cost.commits:.2f} |"
            )
    return 0


def _costs(url: str, meter: Meter, at_once: int) -> list[tuple[str, Cost]]:
    """Returns what each step costs by its name, without what a connection costs that does nothing."""
    calls = Calls()
    # The first time Python and PostgreSQL load what they need.
    idle = [_measure(url, meter, _nothing, at_once)[1] for _ in range(4)][-1]
    found = []
    for name, step in tqdm(_STEPS.items(), f"{at_once} at once", disable=not sys.stderr.isatty()):
        query(url, "VACUUM ANALYZE")
        count, all_of_it = _measure(url, meter, step(calls), at_once)
        of_calls = _difference(all_of_it, idle)
        found.append((name, Cost(*(max(0.0, each) / count for each in of_calls))))
    return found


if __name__ == "__main__":
    sys.exit(main())
