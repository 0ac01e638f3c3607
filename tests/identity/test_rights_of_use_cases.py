"""Each use case asks for the right itself, whatever was asked before the call came there."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from server.domain.access import Role, Subject
from server.domain.customer_changes import CustomerChanges
from server.domain.customers import CustomerList
from server.domain.errors import BillingError, Reason
from server.domain.events import event_id
from server.domain.invitations import InvitationList, NewInvitation
from server.domain.operations import OperationKind
from server.domain.role_changes import AccessBinding, HeldRole, RoleDelta
from server.domain.webhook_settings import WebhookChanges
from server.domain.webhooks import Webhook
from server.storage import migrate
from server.use_cases.billing_accounts import BillingAccounts
from server.use_cases.customers import Customers
from server.use_cases.events import Events
from server.use_cases.invitations import Invitations
from server.use_cases.operations import Operations
from server.use_cases.suppressions import Suppressions
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
    """Those of callers, over one storage, and what is in it."""

    accounts: BillingAccounts
    customers: Customers
    events: Events
    invitations: Invitations
    operations: Operations
    suppressions: Suppressions
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
            Events(storage.events),
            Invitations(storage.invitations, storage.customers, lambda: START, DAY, DAY),
            Operations(
                *(storage.operations, storage.waits, storage.customers, storage.invitations),
                lambda: START,
            ),
            Suppressions(storage.suppressions, lambda: START),
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
    "customers.get": lambda to, who: to.customers.get(who, RESELLER, to.made.customer.id),
    "customers.page": lambda to, who: to.customers.page(who, CustomerList(RESELLER), 10, None),
    "accounts.get": lambda to, who: to.accounts.get(who, to.made.customer.billing_account_id),
    "accounts.get, the reseller's own": lambda to, who: to.accounts.get(who, RESELLER),
    "accounts.bindings": lambda to, who: to.accounts.bindings(who, RESELLER, 10, None),
    "invitations.get": lambda to, who: to.invitations.get(who, RESELLER, to.made.invitation.id),
    "invitations.page": lambda to, who: to.invitations.page(
        who, InvitationList(RESELLER), 10, None
    ),
    "operations.get": lambda to, who: to.operations.get(who, to.made.operation.id),
    "operations.wait": lambda to, who: to.operations.wait(
        who, to.made.operation.id, timedelta(), prove_again
    ),
    "webhooks.get": lambda to, who: to.webhooks.get(who, RESELLER, to.webhook.id),
    "webhooks.page": lambda to, who: to.webhooks.page(who, RESELLER, 10, None),
    "webhooks.attempts": lambda to, who: to.webhooks.attempts(
        who, RESELLER, to.webhook.id, 10, None
    ),
    "events.get": lambda to, who: to.events.get(who, RESELLER, event_id(RESELLER, 1)),
    "events.position": lambda to, who: to.events.position(who, RESELLER, ""),
    "events.page": lambda to, who: to.events.page(who, RESELLER, 0, None, 10),
    "suppressions.page": lambda to, who: to.suppressions.page(who, RESELLER, 10, None),
}
WRITES: dict[str, UseCase] = {
    "customers.invite": lambda to, who: to.customers.invite(who, email="a@example.com", **OWN),
    "customers.create_reseller_served": lambda to, who: to.customers.create_reseller_served(
        who, **OWN
    ),
    "customers.update": lambda to, who: to.customers.update(
        who, RESELLER, to.made.customer.id, CustomerChanges(name="B"), "", "", None
    ),
    "customers.set_state": lambda to, who: to.customers.set_state(
        who, OperationKind.SUSPEND, RESELLER, to.made.customer.id, "", "", None
    ),
    "customers.delete": lambda to, who: to.customers.delete(
        who, RESELLER, to.made.customer.id, "", "", None
    ),
    "customers.undelete": lambda to, who: to.customers.undelete(
        who, RESELLER, to.made.customer.id, "", "", None
    ),
    "customers.change_state": lambda to, who: to.customers.change_state(
        who, OperationKind.SUSPEND, to.made.customer.id, "", None
    ),
    "invitations.resend": lambda to, who: to.invitations.resend(
        who, RESELLER, to.made.invitation.id, "", None
    ),
    "invitations.correct": lambda to, who: to.invitations.correct(
        *(who, RESELLER, to.made.invitation.id, "other@example.com", "", None)
    ),
    "invitations.create_link": lambda to, who: to.invitations.create_link(
        who, RESELLER, to.made.invitation.id, "", None
    ),
    "invitations.revoke": lambda to, who: to.invitations.revoke(
        who, RESELLER, to.made.invitation.id, "", None
    ),
    "operations.cancel": lambda to, who: to.operations.cancel(who, to.made.operation.id, "", None),
    "accounts.update_bindings": lambda to, who: to.accounts.update_bindings(
        who, RESELLER, [RoleDelta(True, VIEWER_ROLE, "")], "", None
    ),
    "operations.delete": lambda to, who: to.operations.delete(who, to.made.operation.id, None),
    "webhooks.create": lambda to, who: to.webhooks.create(who, RESELLER, HOOK, "", None),
    "webhooks.check_new": lambda to, who: to.webhooks.check_new(who, RESELLER, HOOK),
    "webhooks.update": lambda to, who: to.webhooks.update(
        who, RESELLER, to.webhook.id, HOOK, None, "", None
    ),
    "webhooks.check_update": lambda to, who: to.webhooks.check_update(
        who, RESELLER, to.webhook.id, HOOK, None
    ),
    "webhooks.delete": lambda to, who: to.webhooks.delete(
        who, RESELLER, to.webhook.id, None, "", None
    ),
    "webhooks.rotate_secret": lambda to, who: to.webhooks.rotate_secret(
        who, RESELLER, to.webhook.id, DAY, "", None
    ),
    "webhooks.test": lambda to, who: to.webhooks.test(who, RESELLER, to.webhook.id, "", None),
    "webhooks.redeliver": lambda to, who: to.webhooks.redeliver(
        who, RESELLER, to.webhook.id, 1, None, "", None
    ),
    "suppressions.release": lambda to, who: to.suppressions.release(
        who, RESELLER, "sup00000000000000000", "", None
    ),
}
# Their lists hold what the caller may read, of whichever reseller.
OF_ALL_RESELLERS = {"accounts.page", "operations.page"}


def test_every_use_case_of_callers_is_here() -> None:
    here = {name.partition(",")[0] for name in (*READS, *WRITES)} | OF_ALL_RESELLERS
    assert here == {
        f"{room}.{name}"
        for room, class_ in get_type_hints(UseCases).items()
        for name, method in inspect.getmembers(class_, inspect.isfunction)
        if "caller" in inspect.signature(method).parameters and not name.startswith("_")
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
    "name",
    [
        "customers.change_state",
        "accounts.get",
        "operations.get",
        "operations.cancel",
        "operations.delete",
        "operations.wait",
    ],
)
async def test_who_may_nothing_does_not_learn_what_there_is(use_cases: UseCases, name: str) -> None:
    use_cases.made = new()  # never recorded
    await check_refused({**READS, **WRITES}[name](use_cases, NOBODY))


@pytest.mark.parametrize("name", WRITES)
async def test_a_viewer_is_refused_what_writes(use_cases: UseCases, name: str) -> None:
    await check_refused(WRITES[name](use_cases, VIEWER))


async def test_an_editor_gives_no_roles(use_cases: UseCases) -> None:
    await check_refused(WRITES["accounts.update_bindings"](use_cases, EDITOR))


@pytest.mark.parametrize("name", READS)
async def test_a_viewer_is_permitted_what_reads(use_cases: UseCases, name: str) -> None:
    assert await READS[name](use_cases, VIEWER) is not None
