"""Calls of a skewed set of resellers, made to one database and to several, which must answer alike."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from server.domain.customers import Customer
from server.domain.errors import BillingError
from server.domain.invitations import InvitationAction, InvitationList, link_token_hash, resend
from server.storage.check.consistency import check
from server.storage.interface import IdempotencyKey
from server.storage.interface.webhooks import DeliveryAttempt
from server.storage.storage import SqlStorage
from tests.split.databases import (
    Split,
    link_mark,
    marked,
    place_by_size,
    share_numbers,
    slot_of_reseller,
)
from tests.split.move import move_reseller
from tests.storage.databases import Databases, query
from tests.storage.records import (
    ACTOR,
    INVITATION_LIFETIME,
    LEASE,
    START,
    key,
    new,
    opened,
    records,
)
from tests.storage.webhooks.records import add_webhook

SKEW = 1.1
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)


class Links(NamedTuple):
    """The links in an invitation's latest e-mails: the one database's, and the several ones'."""

    whole: str
    split: str


@dataclass
class Invited:
    """What a caller keeps of an invitation."""

    reseller_id: str
    customer: Customer
    invitation_id: str
    operation_id: str
    key: IdempotencyKey
    links: Links | None = None


@dataclass
class Simulation:
    """The same calls to `whole` and `split`, at times a second apart, and how often they differed."""

    whole: SqlStorage
    split: Split
    resellers: Sequence[str]
    seed: int
    invited: list[Invited] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    differed: list[str] = field(default_factory=list)
    now: datetime = START

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._weights = zipf(len(self.resellers))

    async def run(self, calls: int) -> None:
        kinds = [self.invite, self.repeat, self.get, self.list_newest, self.read_log, self.resend]
        kinds += [self.answer, self.cancel]
        for _ in range(calls):
            self.now += _SECOND
            call = self._random.choices(kinds, (30, 5, 20, 10, 10, 5, 15, 5))[0]
            if self.invited or call == self.invite:
                await call()
            if self._random.random() < 0.2:
                await self.work()
        await self.work()

    async def invite(self) -> None:
        (reseller_id,) = self._random.choices(self.resellers, self._weights)
        with marked(reseller_id):
            made = new(reseller_id=reseller_id, now=self.now)
        its_key = key(made.operation.id)
        await self._compare(
            "Invite",
            self.split.by_reseller(reseller_id),
            lambda storage: storage.invitations.create_invitation(made, its_key),
        )
        self.invited.append(
            Invited(reseller_id, made.customer, made.invitation.id, made.operation.id, its_key)
        )

    async def repeat(self) -> None:
        """The same key with a new invitation: what it made the first time comes back."""
        one = self._any()
        with marked(one.reseller_id):
            other = new(reseller_id=one.reseller_id, now=self.now)
        await self._compare(
            "Invite again with its key",
            self.split.by_reseller(one.reseller_id),
            lambda storage: storage.invitations.create_invitation(other, one.key),
        )

    async def get(self) -> None:
        id_ = self._any().operation_id
        await self._compare(
            "Operation Get",
            self.split.by_id(id_),
            lambda storage: storage.operations.get_operation(id_),
        )

    async def list_newest(self) -> None:
        reseller_id = self._any().reseller_id

        async def newest(storage: SqlStorage) -> Any:
            found = (
                await storage.invitations.list_invitations(
                    InvitationList(reseller_id), self.now, 50, None
                )
            ).rows
            return records(found)

        await self._compare("ListInvitations", self.split.by_reseller(reseller_id), newest)

    async def read_log(self) -> None:
        reseller_id = self._any().reseller_id

        async def events(storage: SqlStorage) -> Any:
            last = (await storage.events.get_log_bounds(reseller_id)).last
            return await storage.events.list_events(reseller_id, max(0, last - 50), None, 50)

        await self._compare("ListEvents", self.split.by_reseller(reseller_id), events)

    async def resend(self) -> None:
        one = self._any()
        with marked(one.reseller_id):
            operation = resend(one.customer, resent_by=ACTOR.subject, now=self.now)
        until = self.now + INVITATION_LIFETIME
        await self._compare(
            "ResendInvitation",
            self.split.by_id(one.invitation_id),
            lambda storage: storage.invitations.resend_invitation(
                one.invitation_id, operation, until, _MINUTE, ACTOR, key(operation.id)
            ),
        )

    async def answer(self) -> None:
        one = self._any()
        if one.links is None:
            return
        storage, secret = self.split.by_link(one.links.split)
        secrets = {id(self.whole): one.links.whole, id(storage): secret}
        action = self._random.choice((InvitationAction.ACCEPT, InvitationAction.DECLINE))
        await self._compare(
            "an answer by the link",
            storage,
            lambda each: each.invitations.answer_invitation(
                link_token_hash(secrets[id(each)]), action, self.now, ACTOR, None
            ),
        )

    async def cancel(self) -> None:
        id_ = self._any().operation_id
        await self._compare(
            "Operation Cancel",
            self.split.by_id(id_),
            lambda storage: storage.operations.cancel_operation(id_, self.now, ACTOR, None),
        )

    async def work(self) -> None:
        """The workers: one on the one database, one on each of the several."""
        sent: dict[str, str] = await self._send(self.whole)
        apart: dict[str, str] = {}
        for storage in self.split.storages:
            apart |= await self._send(storage)
        if sent.keys() != apart.keys():
            self.differed.append("e-mails that were due")
        for one in self.invited:
            if one.invitation_id in sent.keys() & apart.keys():
                link = link_mark(one.reseller_id) + apart[one.invitation_id]
                one.links = Links(sent[one.invitation_id], link)
        self._count("an e-mail", len(sent))
        expected = await self._deliver(self.whole)
        found = [each for storage in self.split.storages for each in await self._deliver(storage)]
        if sorted(expected) != sorted(found):
            self.differed.append("deliveries to webhooks that were due")
        self._count("a delivery to a webhook", len(expected))

    async def _send(self, storage: SqlStorage) -> dict[str, str]:
        due = await storage.mail.claim_deliveries(1000, self.now, LEASE)
        for each in due:
            await storage.mail.finish_delivery(each, self.now)
        return {each.invitation_id: each.link_token for each in due}

    async def _deliver(self, storage: SqlStorage) -> list[tuple[str, str]]:
        """Returns of which webhook each event is, and the event's name."""
        due = await storage.deliveries.claim_webhook_deliveries(1000, self.now, LEASE)
        for each in due:
            attempt = DeliveryAttempt(self.now, _SECOND, 204, "")
            await storage.deliveries.finish_webhook_delivery(each, attempt)
        return [(each.webhook_id, each.event.id) for each in due]

    async def _compare(
        self, name: str, storage: SqlStorage, call: Callable[[SqlStorage], Awaitable[Any]]
    ) -> None:
        self._count(name, 1)
        expected, found = await outcome(call(self.whole)), await outcome(call(storage))
        if expected != found:
            self.differed.append(f"{name}: {found} instead of {expected}")

    def _count(self, name: str, number: int) -> None:
        self.done[name] = self.done.get(name, 0) + number

    def _any(self) -> Invited:
        """Mostly one of the newest."""
        newest = self.invited[-200:]
        return self._random.choice(newest if self._random.random() < 0.8 else self.invited)


def zipf(number: int) -> list[float]:
    """Returns how much of all calls the first, the second, … of so many resellers make."""
    weights = [1 / place**SKEW for place in range(1, number + 1)]
    return [weight / sum(weights) for weight in weights]


async def outcome(call: Awaitable[Any]) -> Any:
    """Returns what a call gives, or why it is refused."""
    try:
        return await call
    except BillingError as error:
        return error.reason, error.message, error.metadata


class Report(NamedTuple):
    """What came of it. `calls` of each database; `findings` of `server check`, of all of them."""

    done: dict[str, int]
    calls: list[int]
    moved: dict[str, int]
    move_s: float
    differed: list[str]
    findings: list[str]


async def simulate(
    made: Databases, folder: Path, *, databases: int, resellers: int, calls: int, seed: int
) -> Report:
    """Makes so many calls, moves the greatest reseller, and makes as many again."""
    names = [f"reseller-{place}" for place in range(resellers)]
    whole_url, *urls = [made.migrated(folder) for _ in range(1 + databases)]
    for number, name in enumerate(names, 1):
        for url in (whole_url, *urls):
            query(
                url,
                "INSERT INTO resellers (n, id, name, created_at, modified_at) "
                "VALUES (:number, :id, 'Reseller', 1, 1)",
                number=number,
                id=name,
            )
    share_numbers(urls)
    slots = place_by_size(dict(zip(names, zipf(resellers), strict=True)), databases)
    async with AsyncExitStack() as stack:
        whole, *apart = [await stack.enter_async_context(opened(url)) for url in (whole_url, *urls)]
        simulation = Simulation(whole, Split(apart, slots), names, seed)
        for name in names[: resellers // 10]:
            for storage in (whole, simulation.split.by_reseller(name)):
                await add_webhook(storage, f"of {name}", reseller_id=name)
        await simulation.run(calls)
        slot = slot_of_reseller(names[0])
        source, target = slots[slot], (slots[slot] + 1) % databases
        began_s = time.monotonic()
        moved = move_reseller(names[0], urls[source], urls[target])
        move_s = time.monotonic() - began_s
        slots[slot] = target
        await simulation.run(calls)
    findings = [
        f"{url}: {finding}" for url in (whole_url, *urls) for finding in check(url) if finding.count
    ]
    return Report(
        *(simulation.done, simulation.split.calls, moved, move_s),
        *(simulation.differed, findings),
    )
