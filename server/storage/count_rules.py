"""The limits that are counted against: for how long something counts, and by which name."""

import hashlib
from collections import Counter
from functools import cache
from typing import NamedTuple

from server.domain.limits import SPREAD_BY, SPREAD_FROM, Limits
from server.domain.suppressions import SuppressionReason
from server.storage.schema.tables import FOR_EVER
from server.storage.sql.times import Micros

_PARTS = 12
# The count, for ever, of an address that nothing is sent to: above any limit.
SUPPRESSED = {SuppressionReason.BOUNCED: 1_000_000_000, SuppressionReason.REQUESTED: 2_000_000_000}
HOUR = 3_600_000_000
_DAY = 24 * HOUR
SPREAD_BY_US = SPREAD_BY // SPREAD_BY.resolution


class Rule(NamedTuple):
    """A limit: its name, how much, and for how many microseconds what is counted counts.

    `spread` is how much more is accepted for later.
    """

    name: str
    limit: int
    period: int
    spread: int = 0

    def until(self, at: int) -> Micros:
        """Returns until when something counts that is counted at this time."""
        part = self.period // _PARTS
        return Micros(at - at % part + part + self.period)


class Count:
    """What is used of one limit, and what is added to it, of that how much for later."""

    __slots__ = ("later", "limit", "most", "new", "rule", "scope", "used")

    def __init__(self, rule: Rule, scope: str) -> None:
        self.rule = rule
        self.scope = scope
        self.limit = rule.limit or FOR_EVER
        self.most = self.limit + rule.spread
        self.used = self.new = self.later = 0

    def rows(self, at: int) -> dict[Micros, int]:
        """Returns what is added at the time, by until when it counts."""
        if not self.rule.period:
            return {FOR_EVER: self.new}
        rows = Counter({self.rule.until(at): self.new})
        rows[self.rule.until(at + SPREAD_BY_US)] += self.later
        return {until: number for until, number in rows.items() if number}


@cache
def rules(limits: Limits) -> tuple[Rule, list[Rule], Rule]:
    """Returns the rules for an address, a reseller's e-mails and its customers; 0 limits nothing."""
    hour = limits.mail_per_reseller_h
    spread = hour if hour >= SPREAD_FROM else 0
    of_reseller = [
        Rule("mail_per_reseller_h", hour, HOUR, spread),
        Rule("mail_per_reseller_d", limits.mail_per_reseller_d, _DAY),
    ]
    return (
        Rule("mail_per_address_h", limits.mail_per_address_h, HOUR),
        [rule for rule in of_reseller if rule.limit],
        Rule("customers_per_reseller", limits.customers_per_reseller, 0),
    )


def address_scope(address_key: str) -> str:
    """Addresses are kept as hashes, and not for long."""
    return "address/" + hashlib.blake2b(address_key.encode(), digest_size=12).hexdigest()


def suppressed_by(used: int) -> SuppressionReason | None:
    """Returns why nothing is sent to an address with such a count; None: something is."""
    reasons = (reason for reason, count in SUPPRESSED.items() if used >= count)
    return max(reasons, key=SUPPRESSED.__getitem__, default=None)


def customers_scope(reseller_id: str) -> str:
    return f"customers/{reseller_id}"
