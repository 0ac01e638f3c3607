"""Commands that help a customer on the telephone, on a real database beside its open storage."""

import asyncio
import json
from pathlib import Path

from server.settings_sources import read_settings
from tests.admin.conftest import Command
from tests.admin.test_commands import audit, listed, refused
from tests.storage.records import RESELLER, START, new, opened
from tests.storage.stored_invitation import recorded


def invited(command: Command, email: str) -> tuple[str, str]:
    """Records an invitation; returns the IDs of customer and operation."""
    command("resellers", "add", "Horns and Hooves", "--id", RESELLER)

    async def record() -> tuple[str, str]:
        async with opened(read_settings().database) as storage:
            made = (await recorded(storage, new(email, now=START.replace(year=2020)))).made
            return made.customer.id, made.operation.id

    return asyncio.run(record())


def test_an_invitation_is_found_and_its_customer_erased(command: Command, var: Path) -> None:
    customer, operation = invited(command, "bender@example.com")
    (found,) = listed(command, "invitations", "find", "Bender@Example.com")
    assert (found["customer"], found["address"], found["mail"]) == (
        *(customer, "bender@example.com", "QUEUED"),
    )
    assert listed(command, "invitations", "find", operation) == [found]
    assert command("invitations", "find", "nobody@example.com").stderr == "none\n"
    refused(command("invitations", "find", "no@address@", code=1))
    # Nobody is there to be asked.
    assert "--yes" in refused(command("customers", "erase", customer, code=1))
    done = command("customers", "erase", customer, "--yes", "--by", "ann").stdout
    assert done == f"erased customer {customer}\n"
    assert "already" in command("customers", "erase", customer, "--yes").stdout
    assert "no customer" in refused(command("customers", "erase", "bcu1", "--yes", code=1))
    (found,) = listed(command, "invitations", "find", customer)
    assert (found["name"], found["address"], found["state"]) == ("", "", "EXPIRED")
    assert ("ann", "customers.erase", customer, RESELLER) in audit(command)
    assert "bender" not in json.dumps(audit(command))
    command("check")


def test_the_queue_is_listed_and_tried_now(command: Command) -> None:
    _, operation = invited(command, "bender@example.com")
    (waiting,) = listed(command, "mail", "queue")
    assert (waiting["operation"], waiting["domain"], waiting["next"]) == (
        *(operation, "example.com", "now"),
    )
    assert command("mail", "retry", "--all").stdout == "0 e-mails tried now\n"
    assert "--all" in refused(command("mail", "retry", code=1))
    assert "--all" in refused(command("mail", "retry", operation, "--all", code=1))
    assert command("mail", "retry", operation).stdout == "0 e-mails tried now\n"
    unknown = refused(command("mail", "retry", operation, "bopnone", code=1))
    assert unknown == (
        "error: there is no invitation or operation bopnone, and none was changed; see `mail queue`\n"
    )
    command("resellers", "suspend", RESELLER)
    (waiting,) = listed(command, "mail", "queue")
    assert "suspended" in waiting["next"]
