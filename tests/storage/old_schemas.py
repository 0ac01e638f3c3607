"""Databases as earlier releases left them: their schema, and rows written in plain SQL."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import server.storage.schema.migrations
from server.domain.addresses import address_key
from server.domain.invitations import link_token_hash
from server.storage.sql.connections import Database
from server.storage.sql.times import micros
from tests.storage.records import DAY, RESELLER, START, key

# Oldest first; the last one is what this code works with.
REVISIONS = [
    script.revision
    for script in ScriptDirectory(
        str(Path(server.storage.schema.migrations.__file__).parent)
    ).walk_revisions()
][::-1]

AT = micros(START)
LAPSES_AT = START + 30 * DAY
EXPIRES_AT = micros(LAPSES_AT)
# More than a migration takes at once.
MANY = 1100
# Up to here rows are written in plain SQL; a release after that found what it had brought up to date.
LAST_WRITTEN = "0014"
SENT_TOKEN = "s" * 32
LATER_KEY_AT = AT + 5_000_000

_FAILURE = '["MAIL_UNDELIVERED", "The e-mail could not be delivered.", {"attempts": "12"}]'


def upgrade(database_url: str, revision: str) -> None:
    """Brings a database to a schema of the past."""
    config = Config()
    config.set_main_option("script_location", "server.storage.schema:migrations")
    with Database(database_url, make=True, no_timeout=True).engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def fill(database_url: str, revision: str) -> None:
    """Brings an empty database to a schema up to LAST_WRITTEN, with rows of each kind that it could hold.

    Invitations by their IDs: `inv-due`, never tried; `inv-held`, claimed; `inv-sent`; `inv-lapsed`,
    whose place `inv-anew` has taken; `inv-failed`, whose rows were taken back; MANY that were sent;
    `inv-own`, whose ID ends unlike those of its customer and operation, as all did up to 0014.
    """
    upgrade(database_url, revision)
    with Database(database_url, no_timeout=True).engine.begin() as connection:
        _Writer(connection, revision).fill()


class _Writer:
    """Writes rows as they were at a revision."""

    def __init__(self, connection: Connection, revision: str) -> None:
        self._connection = connection
        self._revision = revision
        self._rows: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}

    @property
    def _ends(self) -> bool:
        """Whether invitations are answered, sent again and expire."""
        return self._revision >= "0004"

    def fill(self) -> None:
        reseller = {"id": RESELLER, "name": "Reseller", "created_at": AT, "modified_at": AT}
        self._insert("resellers", reseller)
        binding = {"subject_id": "subject-1", "reseller_id": RESELLER, "created_at": AT}
        self._insert("role_bindings", {**binding, "role": "billing.accounts.editor"})
        token = {"token_hash": b"token", "subject_id": "subject-1", "created_at": AT}
        self._insert("access_tokens", {**token, "expires_at": None})
        self._invite("due", done=False, due_at=AT, attempts=0)
        self._invite("held", done=False, due_at=AT + 60_000_000, claimed=True, attempts=3)
        self._invite("sent")
        self._invite("lapsed", lapsed=True)
        self._invite("anew")
        self._invite("failed", failure=_FAILURE, attempts=12)
        for number in range(MANY):
            self._invite(f"{number:04}")
        self._invite("own", customer="other")
        self._serve()
        if self._revision >= "0003":
            self._administer()
        if self._revision >= "0012":
            customers = sum(
                len(rows) for (name, _), rows in self._rows.items() if name == "customers"
            )
            scope = f"customers/{RESELLER}"
            self._insert("counts", {"scope": scope, "counts_until": 2**62, "count": customers})
        for (table, names), rows in self._rows.items():
            columns = ", ".join(names)
            places = ", ".join(f":{name}" for name in names)
            insertion = text(f"INSERT INTO {table} ({columns}) VALUES ({places})")
            self._connection.execute(insertion, rows)

    def _invite(
        self, name: str, *, lapsed: bool = False, customer: str = "", **operation: Any
    ) -> None:
        """Writes operation, key, and what the operation has made."""
        customer_id = f"bcu-{customer or name}"
        operation |= {"invitation_id": f"inv-{name}", "customer_id": customer_id}
        self._operate(name, "invite", **operation)
        if operation.get("failure"):
            return
        email = f"STRASSE-{name}-ẞ@Example.com"
        state = "inactive" if lapsed and self._ends else "acceptance_required"
        self._add_customer(customer or name, state=state, email=email)
        invitation: dict[str, Any] = {
            "id": f"inv-{name}",
            "reseller_id": RESELLER,
            "customer_id": customer_id,
            "operation_id": f"bop-{name}",
            "email": email,
            "open_key": None if lapsed else f"open {name}".encode(),
            "state": "pending",
            "created_at": AT,
            "expires_at": EXPIRES_AT,
        }
        if self._ends:
            invitation |= {
                "state": "expired" if lapsed else "pending",
                "ended_at": EXPIRES_AT if lapsed else None,
                "latest_operation_id": f"bop-{name}",
                "email_key": address_key(email) if self._revision >= "0006" else email.casefold(),
            }
        self._insert("invitations", invitation)
        if operation.get("attempts") == 0:
            return
        link = {
            "token_hash": link_token_hash(SENT_TOKEN if name == "sent" else name),
            "invitation_id": f"inv-{name}",
            "created_at": AT,
        }
        self._insert("link_tokens", link | ({"operation_id": f"bop-{name}"} if self._ends else {}))

    def _serve(self) -> None:
        """Writes a customer without invitation, whose operation is deleted, by a later key."""
        keyed = {"keyed_at": LATER_KEY_AT} if self._revision >= "0005" else {}
        self._operate("served", "create_reseller_served", attempts=0, deleted=True, **keyed)
        self._add_customer("served", "suspended", None)
        self._operate("suspended", "suspend", attempts=0, customer_id="bcu-served")
        self._remember("later", "bop-served", LATER_KEY_AT)

    def _administer(self) -> None:
        self._insert("service_accounts", {"id": "account-1", "name": "Account", "created_at": AT})
        self._insert(
            "account_keys",
            {
                "id": "key-1",
                "service_account_id": "account-1",
                "algorithm": "RSA_2048",
                "public_key": "PEM",
                "created_at": AT,
            },
        )
        for number, (action, target) in enumerate(
            [("service-accounts.add", "account-1"), ("keys.add", "key-1")]
        ):
            record = {"id": f"aud-{number}", "at": AT, "actor": "root", "details": ""}
            self._insert("audit_records", {**record, "action": action, "target": target})
        self._insert("revoked_tokens", {"token_hash": b"revoked", "expires_at": AT})

    def _operate(self, name: str, kind: str, **values: Any) -> None:
        row = {
            "id": f"bop-{name}",
            "kind": kind,
            "reseller_id": RESELLER,
            "customer_id": f"bcu-{name}",
            "billing_account_id": f"bac-{values.get('customer_id', f'bcu-{name}')[4:]}",
            "created_by": "subject-1",
            "created_at": AT,
            "modified_at": AT + 1,
            "done": True,
            "failure": None,
            "deleted": False,
            "invitation_id": None,
            "due_at": None,
            "claimed": False,
            "attempts": 1,
            "cancel_requested": False,
        }
        self._insert("operations", row | values)
        self._remember(name, f"bop-{name}", AT)

    def _remember(self, name: str, operation_id: str, at: int) -> None:
        named = key(name)
        target = "target_id" if self._ends else "operation_id"
        self._insert(
            "idempotency_keys",
            {
                "key": named.key,
                "fingerprint": named.fingerprint,
                target: operation_id,
                "created_at": at,
            },
        )

    def _add_customer(self, name: str, state: str, email: str | None) -> None:
        row: dict[str, Any] = {
            "id": f"bcu-{name}",
            "reseller_id": RESELLER,
            "billing_account_id": f"bac-{name}",
            "name": "ООО «Ромашка»",
            "person": '{"name": "Иван", "tin": "7736207543"}',
            "state": state,
            "created_at": AT,
            "modified_at": AT,
        }
        self._insert("customers", row | ({"email": email} if self._ends else {}))

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        rows = self._rows.setdefault((table, tuple(row)), [])
        rows.append(row)
