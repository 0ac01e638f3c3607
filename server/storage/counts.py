"""Counting against limits: e-mails by address and by reseller, and each reseller's customers.

An e-mail counts for the whole period of its limit, and for up to a twelfth of it longer, since what
was accepted in one twelfth is one row. So no period, whenever it begins, has more than the limit.

Counts are written right before the commit (`Transaction.add`) and looked at again after, so that
transactions of many processes wait for each other's counts as briefly as can be, and the limits hold
all the same: whoever was overtaken runs again, and sees what came first.
"""

import hashlib
import math
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from server.domain.limits import (
    SPREAD_BY,
    SPREAD_FROM,
    Limits,
    customer_limit_reached,
    mail_limit_reached,
)
from server.storage.failures import OvertakenError
from server.storage.schema import FOR_EVER
from server.storage.schema import counts as table
from server.storage.statements import IDS, Addition, Statement, Transaction

_PARTS = 12
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_SPREAD_BY = SPREAD_BY // SPREAD_BY.resolution

_USED = Statement(
    select(table.c.scope, func.sum(table.c.count))
    .where(table.c.scope.in_(IDS), table.c.counts_until > bindparam("now"))
    .group_by(table.c.scope),
    "now",
)
_PARTS_USED = Statement(
    select(table.c.counts_until, table.c.count)
    .where(table.c.scope.in_(IDS), table.c.counts_until > bindparam("now"))
    .order_by(table.c.counts_until),
    "now",
)
_ADD = Addition(table)


class _Rule(NamedTuple):
    """A limit: its name, how much, and for how many microseconds what is counted counts; 0: for ever.

    `spread` is how much more is accepted for later.
    """

    name: str
    limit: int
    period: int
    spread: int = 0


class _Count:
    """What is used of one limit by one reseller or address, and what is added to it."""

    __slots__ = ("added", "most", "rule", "scope", "used")

    def __init__(self, rule: _Rule, scope: str) -> None:
        self.rule = rule
        self.scope = scope
        self.used = 0
        self.most = rule.limit + rule.spread if rule.limit else FOR_EVER
        self.added: dict[int, int] = {}

    def add(self, at: int) -> None:
        """Counts one at the time."""
        period = self.rule.period
        until = FOR_EVER
        if period:
            part = period // _PARTS
            until = at - at % part + part + period
        self.used += 1
        self.added[until] = self.added.get(until, 0) + 1


class Counts:
    """What one kind of request in a batch may add. All that it adds counts from then on."""

    def __init__(
        self,
        transaction: Transaction,
        limits: Limits,
        now: int,
        mails: Iterable[tuple[str, str]],
        customers_of: Iterable[str] = (),
    ) -> None:
        """Looks up what is used of the limits, by resellers and address keys of e-mails to count."""
        self._transaction = transaction
        self._now = now
        # By address key, and by reseller's ID.
        self._addresses: dict[str, _Count] = {}
        self._resellers: dict[str, list[_Count]] = {}
        self._customers: dict[str, _Count] = {}
        for_address, for_resellers, for_customers = _rules(limits)
        for reseller_id, key in mails:
            if for_address.limit and key not in self._addresses:
                self._addresses[key] = _Count(for_address, _address_scope(key))
            if reseller_id not in self._resellers:
                self._resellers[reseller_id] = [
                    _Count(rule, f"{rule.name}/{reseller_id}") for rule in for_resellers
                ]
        for reseller_id in customers_of:
            if reseller_id not in self._customers:
                self._customers[reseller_id] = _Count(for_customers, _customers_scope(reseller_id))
        self._counts = {
            count.scope: count
            for counts in (
                self._addresses.values(),
                *self._resellers.values(),
                self._customers.values(),
            )
            for count in counts
        }
        self._look_up()
        transaction.before_commit.append(self._write)
        transaction.checks.append(self._check)

    def mail(self, reseller_id: str, address_key: str, at: int, customers: int = 0) -> int:
        """Counts an e-mail accepted at the time, and new customers; returns when it is to go out.

        Raises MAIL_LIMIT_REACHED, CUSTOMER_LIMIT_REACHED, and then counts nothing.
        """
        due_at = at
        counts = self._resellers[reseller_id]
        address = self._addresses.get(address_key)
        if address:
            counts = [*counts, address]
        for count in counts:
            if count.used >= count.most:
                raise mail_limit_reached(count.rule.name, count.rule.limit, self._wait_s(count))
        if customers:
            self.customer(reseller_id)
        for count in counts:
            if count.used < count.rule.limit:
                count.add(at)
            else:
                due_at = at + _SPREAD_BY
                count.add(due_at)
        return due_at

    def customer(self, reseller_id: str) -> None:
        """Counts a customer. Raises CUSTOMER_LIMIT_REACHED, and then counts nothing."""
        count = self._customers[reseller_id]
        if count.used >= count.most:
            raise customer_limit_reached(count.rule.limit)
        count.add(0)

    def _look_up(self) -> None:
        limited = [scope for scope, count in self._counts.items() if count.rule.limit]
        if limited:
            for scope, used in self._transaction.fetch(_USED, limited, now=self._now):
                self._counts[scope].used = used

    def _write(self) -> None:
        for scope, count in self._counts.items():
            for until, number in count.added.items():
                self._transaction.add(_ADD, (scope, until), number)

    def _check(self) -> None:
        """Raises OvertakenError if others have counted meanwhile, up to a limit."""
        self._look_up()
        if any(count.added and count.used > count.most for count in self._counts.values()):
            raise OvertakenError

    def _wait_s(self, count: _Count) -> float:
        """Returns after how many seconds one e-mail more may be accepted."""
        parts = dict(self._transaction.fetch(_PARTS_USED, [count.scope], now=self._now))
        for until, number in count.added.items():
            parts[until] = parts.get(until, 0) + number
        too_many = count.used - count.most + 1
        until = self._now
        for until in sorted(parts):
            too_many -= parts[until]
            if too_many <= 0:
                break
        return math.ceil((until - self._now) / 1_000_000)


def take_customers_back(transaction: Transaction, reseller_ids: Iterable[str]) -> None:
    """Counts a customer less for each time that a reseller is named."""
    for reseller_id in reseller_ids:
        transaction.add(_ADD, (_customers_scope(reseller_id), FOR_EVER), -1)


@cache
def _rules(limits: Limits) -> tuple[_Rule, list[_Rule], _Rule]:
    """Returns the rules for an address, a reseller's e-mails and its customers; 0 limits nothing."""
    hour = limits.mail_per_reseller_h
    spread = hour if hour >= SPREAD_FROM else 0
    of_reseller = [
        _Rule("mail_per_reseller_h", hour, _HOUR, spread),
        _Rule("mail_per_reseller_d", limits.mail_per_reseller_d, _DAY),
    ]
    return (
        _Rule("mail_per_address_h", limits.mail_per_address_h, _HOUR),
        [rule for rule in of_reseller if rule.limit],
        _Rule("customers_per_reseller", limits.customers_per_reseller, 0),
    )


def _address_scope(address_key: str) -> str:
    """Addresses are kept as hashes, and not for long."""
    return "address/" + hashlib.blake2b(address_key.encode(), digest_size=12).hexdigest()


def _customers_scope(reseller_id: str) -> str:
    return f"customers/{reseller_id}"
