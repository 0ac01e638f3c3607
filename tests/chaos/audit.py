"""What became of the invitations that callers were told of."""

import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path

from tests.chaos.load import AcknowledgedCalls
from tests.chaos.stack import Stack
from tests.service import ROOT, eventually
from tests.storage.databases import query

_EACH_IS_WHOLE = """
SELECT count(*) FROM customers c
LEFT JOIN operations o ON o.n = c.n AND o.kind = 1
WHERE o.n IS NULL OR c.invitation = 0
"""

# An operation that made a customer has an ID that ends like the customer's.
_ID = "coalesce(o.id, 'bop' || substr(c.id, 4))"
_UNFINISHED = (
    f"SELECT {_ID} FROM operations o LEFT JOIN customers c ON c.n = o.customer WHERE NOT o.done"
)


@dataclass
class Findings:
    """Numbers that people read, and lists of what must not be."""

    acknowledged: int = 0
    done: int = 0
    emails: int = 0
    repeated: int = 0
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            f"invitations acknowledged      {self.acknowledged:8}",
            f"  done, with their customer   {self.done:8}",
            f"  e-mails for them            {self.emails:8}",
            f"  of them repeats, each with the first one's Message-ID {self.repeated:8}",
            *(
                f"WRONG: {what}: {len(who)} ({', '.join(who[:3])} …)"
                for what, who in self.wrong.items()
            ),
        ]


def unfinished(database_url: str) -> set[str]:
    """Returns the IDs of operations that have not ended."""
    return {id_ for (id_,) in query(database_url, _UNFINISHED)}


def left_undone(database_url: str, within_s: float = 60.0) -> set[str]:
    """Waits for operations to end; returns the IDs of those that have not by then."""
    try:
        eventually(lambda: not unfinished(database_url), within_s)
    except AssertionError:
        return unfinished(database_url)
    return set()


def audit(
    stack: Stack, calls: AcknowledgedCalls, within_s: float = 60.0, database_url: str = ""
) -> Findings:
    """Waits for all that was begun to end, then looks for what got lost.

    The database is looked at where the service has it, or at another address of it.
    """
    database = database_url or stack.database_url
    found = Findings(acknowledged=len(calls.acknowledged))
    found.wrong["left undone"] += left_undone(database, within_s)
    operations = {
        id_: (done, failure, customer)
        for id_, done, failure, customer in query(
            database,
            f"SELECT {_ID}, o.done, o.failure, c.id FROM operations o "
            "LEFT JOIN customers c ON c.n = o.customer",
        )
    }
    for id_ in calls.acknowledged.values():
        done, failure, customer = operations.get(id_, (None, None, None))
        if done is None:
            found.wrong["acknowledged and lost"].append(id_)
        elif failure:
            found.wrong["failed"].append(id_)
        elif done and not customer:
            found.wrong["done without a customer"].append(id_)
        elif done:
            found.done += 1
    found.wrong["two operations for one key"] += calls.contradictions
    if query(database, _EACH_IS_WHOLE) != [(0,)]:
        found.wrong["customers without an operation or an invitation"].append(database)
    doubled = query(
        database,
        "SELECT email FROM customers WHERE invitation > 0 GROUP BY email HAVING count(*) > 1",
    )
    found.wrong["one call, two invitations"] += [address for (address,) in doubled]
    _audit_mail(Path(stack.service.mail), calls, found)
    _check(stack, found)
    found.wrong = {what: who for what, who in found.wrong.items() if who}
    return found


def _audit_mail(folder: Path, calls: AcknowledgedCalls, found: Findings) -> None:
    received: dict[str, Counter[str]] = defaultdict(Counter)
    parser = BytesHeaderParser(policy=default)
    for file in folder.glob("*.eml"):
        headers = parser.parsebytes(file.read_bytes())
        received[str(headers["Delivered-To"])][str(headers["Message-ID"])] += 1
    for address, id_ in calls.acknowledged.items():
        ids = received[address]
        found.emails += ids.total()
        found.repeated += max(0, ids.total() - 1)
        if not ids:
            found.wrong["without an e-mail"].append(id_)
        if len(ids) > 1:
            found.wrong["repeats with another Message-ID"].append(id_)


def _check(stack: Stack, found: Findings) -> None:
    """Runs the service's own check of its database."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "check"],
        cwd=ROOT,
        env=stack.service.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        found.wrong["found by server check"].append(done.stdout + done.stderr)
