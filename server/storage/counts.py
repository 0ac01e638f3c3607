"""Counting against limits: e-mails by address and by reseller, and each reseller's customers.

An e-mail counts for the whole period of its limit, and for up to a twelfth of it longer, since what
was accepted in one twelfth is one row. So no period, whenever it begins, has more than the limit.
E-mails to an address are counted by the invitations that were made for it, which an index finds;
only resends have rows of their own, and e-mails of invitations that have another address by now. A
row for each address would cost more than all other counts.

Counts are written right before the commit (`Transaction.add`) and looked at again after, so that
transactions of many processes wait for each other's counts as briefly as can be, and the limits hold
all the same: whoever was overtaken runs again, and sees what came first.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from server.domain.limits import (
    Limits,
    customer_limit_reached,
    mail_limit_reached,
)
from server.domain.suppressions import address_suppressed
from server.storage.count_rules import (
    HOUR,
    SPREAD_BY_US,
    SUPPRESSED,
    Count,
    address_scope,
    customers_scope,
    rules,
    suppressed_by,
)
from server.storage.invitations.addresses import address_hash
from server.storage.schema.codes import LINK_ONLY
from server.storage.schema.tables import FOR_EVER, AddressKey, customers
from server.storage.schema.tables import counts as table
from server.storage.sql.driver_errors import OvertakenError
from server.storage.sql.statements import IDS, Addition, Query, Transaction
from server.storage.sql.times import Micros


class _Used(NamedTuple):
    """How much is used of a limit."""

    scope: str
    number: int


class _Part(NamedTuple):
    """How much was accepted in a twelfth of a period, and until when it counts."""

    until: Micros
    number: int


class _Invited(NamedTuple):
    """How many invitations were made for an address; some may have been made earlier."""

    address_key: AddressKey
    number: int


class _At(NamedTuple):
    created_at: Micros


_USED = Query(
    _Used,
    select(table.c.scope, func.sum(table.c.count))
    .where(table.c.scope.in_(IDS), table.c.counts_until > bindparam("now"))
    .group_by(table.c.scope),
    "now",
)
_PARTS_USED = Query(
    _Part,
    select(table.c.counts_until, table.c.count)
    .where(table.c.scope.in_(IDS), table.c.counts_until > bindparam("now"))
    .order_by(table.c.counts_until),
    "now",
)
_IS_MAILED = customers.c.delivery.is_distinct_from(LINK_ONLY)
_INVITED = Query(
    _Invited,
    select(
        customers.c.address_key,
        func.count().filter(customers.c.created_at > bindparam("since"), _IS_MAILED),
    )
    .where(customers.c.address_key.in_(IDS))
    .group_by(customers.c.address_key),
    "since",
)
_INVITED_AT = Query(
    _At,
    select(customers.c.created_at).where(
        customers.c.address_key.in_(IDS), customers.c.created_at > bindparam("since"), _IS_MAILED
    ),
    "since",
)
_ADD = Addition(table)
# Once only so many e-mails are left to an address, it gets a row here, which transactions that count for
# it lock. With more left, as many of them would have to run at the same moment to go beyond the limit.
_NEAR = 16
_LEAST_SUPPRESSED = min(SUPPRESSED.values())


class Counts:
    """What one kind of request in a batch, at about one time, may add.

    All that it adds counts from then on.
    """

    def __init__(
        self,
        transaction: Transaction,
        limits: Limits,
        now: Micros,
        mails: Iterable[tuple[str, str]],
        customers_of: Iterable[str] = (),
    ) -> None:
        """Looks up what is used of the limits, by resellers and address keys of e-mails to count."""
        self._transaction = transaction
        self._now = now
        self._of_address, of_mails, of_customers = rules(limits)
        self._most = self._of_address.limit or FOR_EVER
        # E-mails by address key: all that count, and of these the new ones, of invitations and resends.
        self._used: dict[str, int] = {}
        self._invited: list[str] = []
        self._resent: Counter[str] = Counter()
        resellers = set()
        for reseller_id, key in mails:
            resellers.add(reseller_id)
            self._used[key] = 0
        self._mails = {
            each: [Count(rule, f"{rule.name}/{each}") for rule in of_mails] for each in resellers
        }
        self._customers = {
            each: Count(of_customers, customers_scope(each)) for each in set(customers_of)
        }
        self._look_up()
        transaction.before_commit.append(self._write)
        transaction.checks.append(self._check)

    def invite(self, reseller_id: str, address_key: str, at: Micros) -> Micros:
        """Counts a customer and its invitation's e-mail; returns when that is to go out.

        Raises MAIL_LIMIT_REACHED, CUSTOMER_LIMIT_REACHED, and then counts nothing.
        """
        used = self.require_room(reseller_id, address_key)
        self.customer(reseller_id)
        self._used[address_key] = used + 1
        self._invited.append(address_key)
        return self._mail(reseller_id, at)

    def resend(self, reseller_id: str, address_key: str, at: Micros) -> Micros:
        """Counts an e-mail that is sent again; as `invite`. Raises MAIL_LIMIT_REACHED."""
        used = self.require_room(reseller_id, address_key)
        self._used[address_key] = used + 1
        self._resent[address_key] += 1
        return self._mail(reseller_id, at)

    def correct(
        self,
        reseller_id: str,
        address_key: str,
        at: Micros,
        former: str,
        invited_at: Micros,
        *,
        sent: bool,
    ) -> Micros:
        """Counts an e-mail to another address of an invitation; as `invite`. Raises MAIL_LIMIT_REACHED.

        `sent` tells whether the former address has got the first one, for which it goes on counting.
        """
        due_at = self.resend(reseller_id, address_key, at)
        until = Micros(invited_at + HOUR)
        if self._of_address.limit and until > self._now:
            # The invitation, which is counted where it is, counts for another e-mail than that.
            self._transaction.add(_ADD, (address_scope(address_key), until), -1)
            if sent:
                self._transaction.add(_ADD, (address_scope(former), until), 1)
        return due_at

    def customer(self, reseller_id: str) -> None:
        """Counts a customer. Raises CUSTOMER_LIMIT_REACHED, and then counts nothing."""
        count = self._customers[reseller_id]
        if count.used >= count.most:
            raise customer_limit_reached(count.limit)
        count.used += 1
        count.new += 1

    def require_room(self, reseller_id: str, address_key: str) -> int:
        """Returns how many e-mails the address has got. Raises MAIL_LIMIT_REACHED, ADDRESS_SUPPRESSED."""
        for count in self._mails[reseller_id]:
            if count.used >= count.most:
                raise mail_limit_reached(count.rule.name, count.limit, self._wait_s(count))
        used = self._used[address_key]
        if used >= _LEAST_SUPPRESSED and (reason := suppressed_by(used)):
            raise address_suppressed(reason)
        if used >= self._most:
            wait_s = self._address_wait_s(address_key, used)
            raise mail_limit_reached(self._of_address.name, self._most, wait_s)
        return used

    def _mail(self, reseller_id: str, at: Micros) -> Micros:
        for count in self._mails[reseller_id]:
            if count.used < count.limit:
                count.new += 1
            else:
                count.later += 1
                at = Micros(at + SPREAD_BY_US)
            count.used += 1
        return at

    def _counts(self) -> Iterator[Count]:
        return chain(self._customers.values(), *self._mails.values())

    def _look_up(self) -> None:
        counts = {count.scope: count for count in self._counts() if count.rule.limit}
        addresses: dict[str, str] = {}
        if self._used:
            since = self._now - HOUR
            by_hash = {address_hash(key): key for key in self._used}
            for row in self._transaction.fetch(_INVITED, list(by_hash), since=since):
                self._used[by_hash[row.address_key]] = row.number
            # Resends, and addresses that nothing is sent to; both may be without an invitation by now.
            addresses = {address_scope(key): key for key in self._used}
        if counts or addresses:
            scopes = [*counts, *addresses]
            for scope, used in self._transaction.fetch(_USED, scopes, now=self._now):
                if scope in counts:
                    counts[scope].used = used
                else:
                    self._used[addresses[scope]] += used

    def _write(self) -> None:
        rows = {
            (count.scope, until): number
            for count in self._counts()
            for until, number in count.rows(self._now).items()
        }
        if self._of_address.limit:
            until = self._of_address.until(self._now)
            near = {key: 0 for key in self._invited if self._used[key] + _NEAR > self._most}
            for key, number in (near | self._resent).items():
                rows[address_scope(key), until] = number
        for row, number in rows.items():
            self._transaction.add(_ADD, row, number)

    def _check(self) -> None:
        """Raises OvertakenError if others have counted meanwhile, up to a limit."""
        self._look_up()
        grown = (*self._invited, *self._resent)
        most = min(self._most, _LEAST_SUPPRESSED)
        if any(self._used[key] > most for key in grown) or any(
            count.used > count.most and count.new + count.later for count in self._counts()
        ):
            raise OvertakenError

    def _wait_s(self, count: Count) -> float:
        """Returns after how many seconds one e-mail more of a reseller may be accepted."""
        return self._until_room_s(count.scope, count.used - count.most, count.rows(self._now))

    def _address_wait_s(self, key: str, used: int) -> float:
        hashed = [address_hash(key)]
        invited = self._transaction.fetch(_INVITED_AT, hashed, since=self._now - HOUR)
        parts = Counter(Micros(row.created_at + HOUR) for row in invited)
        parts[Micros(self._now + HOUR)] += self._invited.count(key) + self._resent[key]
        return self._until_room_s(address_scope(key), used - self._most, parts)

    def _until_room_s(self, scope: str, over: int, parts: Mapping[Micros, int]) -> float:
        """Returns in how many seconds more than `over` will count no longer, beside what is new."""
        by_until = Counter(parts)
        for until, number in self._transaction.fetch(_PARTS_USED, [scope], now=self._now):
            by_until[until] += number
        until = self._now
        for until in sorted(by_until):
            over -= by_until[until]
            if over < 0:
                break
        return math.ceil((until - self._now) / 1_000_000)


def take_customers_back(transaction: Transaction, reseller_ids: Iterable[str]) -> None:
    """Counts a customer less for each time that a reseller is named."""
    for reseller_id in reseller_ids:
        transaction.add(_ADD, (customers_scope(reseller_id), FOR_EVER), -1)
