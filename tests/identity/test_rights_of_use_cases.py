"""Each use case asks for the right itself, whatever was asked before the call came there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from server.domain.access import Role, Subject
from server.domain.customer_changes import CustomerChanges
from server.domain.customers import CustomerList
from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationList, NewInvitation
from server.domain.operations import OperationKind
from server.domain.role_changes import AccessBinding, HeldRole, RoleDelta
from server.domain.webhook_settings import WebhookChanges
from server.domain.webhooks import Webhook
from server.storage import migrate
from server.use_cases.billing_accounts import BillingAccounts
from server.use_cases.customers import Customers
from server.use_cases.invitations import Invitations
from server.use_cases.operations import Operations
from server.use_cases.webhooks import Webhooks
from tests.storage.records import DAY, RESELLER, SECOND_RESELLER, START, new, opened

EDITOR = Subject("editor", {RESELLER: frozenset({Role.EDITOR})})
VIEWER = Subject("viewer", {RESELLER: frozenset({Role.VIEWER})})
FOREIGNER = Subject("foreigner", {SECOND_RESELLER: frozenset({Role.OWNER})})
NOBODY = Subject("nobody", {})
VIEWER_ROLE = AccessBinding(HeldRole("somebody", Role.VIEWER), is_account=False)
HOOK = WebhookChanges(url="https://example.com/")


@dataclass
class UseCases:
    """All of them, over one storage, and an invitation in it."""

    accounts: BillingAccounts
    customers: Customers
    invitations: Invitations
    operations: Operations
    webhooks: Webhooks
    made: NewInvitation
    webhook: Webhook


@pytest.fixture
async def use_cases(tmp_path: Path) -> AsyncIterator[UseCases]:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    async with opened(url) as storage:
        for reseller_id in (RESELLER, SECOND_RESELLER):
            await storage.administration.add_reseller(reseller_id, "A reseller", START)
            await storage.administration.grant_role("viewer", reseller_id, Role.VIEWER, START)
        made = new()
        await storage.invitations.create_invitation(made, None)
        webhooks = Webhooks(storage.webhooks, lambda: START, private_allowed=False)
        hooked = await webhooks.create(EDITOR, RESELLER, HOOK, "", None)
        assert hooked
        yield UseCases(
            BillingAccounts(storage.billing_accounts, storage.access, lambda: START),
            Customers(storage.customers, storage.invitations, lambda: START, DAY),
            Invitations(storage.invitations, storage.customers, lambda: START, DAY, DAY),
            Operations(
                *(storage.operations, storage.waits, storage.customers, storage.invitations),
                lambda: START,
            ),
            webhooks,
            made,
            hooked.webhook,
        )


async def prove_again() -> Subject:
    return NOBODY


UseCase = Callable[[UseCases, Subject], Awaitable[Any]]
OWN: dict[str, Any] = {
    "request_id": "",
    "reseller_id": RESELLER,
    "name": "N",
    "person": {},
    "key": None,
}
READS: dict[str, UseCase] = {
    "get a customer": lambda to, who: to.customers.get(who, RESELLER, to.made.customer.id),
    "list customers": lambda to, who: to.customers.page(who, CustomerList(RESELLER), 10, None),
    "get an account": lambda to, who: to.accounts.get(who, to.made.customer.billing_account_id),
    "get a reseller's account": lambda to, who: to.accounts.get(who, RESELLER),
    "list access bindings": lambda to, who: to.accounts.bindings(who, RESELLER, 10, None),
    "get an invitation": lambda to, who: to.invitations.get(who, RESELLER, to.made.invitation.id),
    "list invitations": lambda to, who: to.invitations.page(
        who, InvitationList(RESELLER), 10, None
    ),
    "get an operation": lambda to, who: to.operations.get(who, to.made.operation.id),
    "wait": lambda to, who: to.operations.wait(who, to.made.operation.id, timedelta(), prove_again),
    "get a webhook": lambda to, who: to.webhooks.get(who, RESELLER, to.webhook.id),
    "list webhooks": lambda to, who: to.webhooks.page(who, RESELLER, 10, None),
}
WRITES: dict[str, UseCase] = {
    "invite": lambda to, who: to.customers.invite(who, email="a@example.com", **OWN),
    "create a customer": lambda to, who: to.customers.create_reseller_served(who, **OWN),
    "update a customer": lambda to, who: to.customers.update(
        who, RESELLER, to.made.customer.id, CustomerChanges(name="B"), "", "", None
    ),
    "set a customer's state": lambda to, who: to.customers.set_state(
        who, OperationKind.SUSPEND, RESELLER, to.made.customer.id, "", "", None
    ),
    "delete a customer": lambda to, who: to.customers.delete(
        who, RESELLER, to.made.customer.id, "", "", None
    ),
    "undelete a customer": lambda to, who: to.customers.undelete(
        who, RESELLER, to.made.customer.id, "", "", None
    ),
    "suspend a customer": lambda to, who: to.customers.change_state(
        who, OperationKind.SUSPEND, to.made.customer.id, "", None
    ),
    "resend": lambda to, who: to.invitations.resend(who, RESELLER, to.made.invitation.id, "", None),
    "correct": lambda to, who: to.invitations.correct(
        *(who, RESELLER, to.made.invitation.id, "other@example.com", "", None)
    ),
    "make a link": lambda to, who: to.invitations.create_link(
        who, RESELLER, to.made.invitation.id, "", None
    ),
    "revoke": lambda to, who: to.invitations.revoke(who, RESELLER, to.made.invitation.id, "", None),
    "cancel": lambda to, who: to.operations.cancel(who, to.made.operation.id, "", None),
    "give a role": lambda to, who: to.accounts.update_bindings(
        who, RESELLER, [RoleDelta(True, VIEWER_ROLE, "")], "", None
    ),
    "delete": lambda to, who: to.operations.delete(who, to.made.operation.id, None),
    "create a webhook": lambda to, who: to.webhooks.create(who, RESELLER, HOOK, "", None),
    "check a new webhook": lambda to, who: to.webhooks.check_new(who, RESELLER, HOOK),
    "update a webhook": lambda to, who: to.webhooks.update(
        who, RESELLER, to.webhook.id, HOOK, None, "", None
    ),
    "check an update": lambda to, who: to.webhooks.check_update(
        who, RESELLER, to.webhook.id, HOOK, None
    ),
    "delete a webhook": lambda to, who: to.webhooks.delete(
        who, RESELLER, to.webhook.id, None, "", None
    ),
    "rotate a secret": lambda to, who: to.webhooks.rotate_secret(
        who, RESELLER, to.webhook.id, DAY, "", None
    ),
    "test a webhook": lambda to, who: to.webhooks.test(who, RESELLER, to.webhook.id, "", None),
    "redeliver": lambda to, who: to.webhooks.redeliver(
        who, RESELLER, to.webhook.id, 1, None, "", None
    ),
}


async def check_refused(asked: Awaitable[Any]) -> None:
    with pytest.raises(BillingError) as refused:
        await asked
    assert refused.value.reason is Reason.PERMISSION_MISSING


@pytest.mark.parametrize("who", [FOREIGNER, NOBODY], ids=lambda each: each.id)
@pytest.mark.parametrize("name", [*READS, *WRITES])
async def test_a_caller_without_a_role_is_refused_everywhere(
    use_cases: UseCases, name: str, who: Subject
) -> None:
    await check_refused({**READS, **WRITES}[name](use_cases, who))


@pytest.mark.parametrize(
    "name", ["suspend a customer", "get an account", "get an operation", "cancel", "delete", "wait"]
)
async def test_who_may_nothing_does_not_learn_what_there_is(use_cases: UseCases, name: str) -> None:
    use_cases.made = new()  # never recorded
    await check_refused({**READS, **WRITES}[name](use_cases, NOBODY))


@pytest.mark.parametrize("name", WRITES)
async def test_a_viewer_is_refused_what_writes(use_cases: UseCases, name: str) -> None:
    await check_refused(WRITES[name](use_cases, VIEWER))


async def test_an_editor_gives_no_roles(use_cases: UseCases) -> None:
    await check_refused(WRITES["give a role"](use_cases, EDITOR))


@pytest.mark.parametrize("name", READS)
async def test_a_viewer_is_permitted_what_reads(use_cases: UseCases, name: str) -> None:
    assert await READS[name](use_cases, VIEWER)


async def test_readers_may_read_attempts(use_cases: UseCases) -> None:
    webhooks, id_ = use_cases.webhooks, use_cases.webhook.id
    assert await webhooks.attempts(VIEWER, RESELLER, id_, 10, None) == []
    for who in (FOREIGNER, NOBODY):
        await check_refused(webhooks.attempts(who, RESELLER, id_, 10, None))
