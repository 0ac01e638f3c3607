"""Erasing who customers are, on SQLite and PostgreSQL."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from server.domain.access import Actor
from server.domain.customer_changes import CustomerChanges
from server.domain.customers import Customer, CustomerState, create_reseller_served
from server.domain.errors import BillingError, Reason
from server.domain.events import EventType
from server.domain.invitation_options import InvitationOptions
from server.domain.invitations import Invitation, InvitationState, NewInvitation, invite
from server.domain.mail import DeliveryState
from server.domain.operations import Deferral
from server.storage.customer_rows import CustomerPart
from server.storage.customers.erase import BLANKED
from server.storage.events.rows import blank, customer_json
from server.storage.interface import IdempotencyKey
from server.storage.schema.tables import CustomerRow, metadata
from server.storage.storage import SqlStorage
from tests.storage.databases import on_sqlite, query
from tests.storage.events.reading import logged
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    REFUSED,
    RESELLER,
    START,
    claimed,
    key,
    opened,
    records,
)
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded, refused, sent
from tests.storage.test_bounces import CAME_BACK, token_of
from tests.storage.test_corrections import corrected

pytestmark = pytest.mark.usefixtures("consistent")

# What nothing may tell once it is erased.
SECRETS = (
    *("Ostap", "bender", "Horns and Hooves", "7707083893", "a-note-to-him", "Kozlevich"),
    *("crm-17", "vip-label", "return-here", "corrected-once"),
)


LATE = Deferral(1, "the mail server said 451 4.3.0", START + DAY, 451, "4.3.0")


@pytest.fixture(autouse=True)
async def listed(storage: SqlStorage) -> None:
    """The reseller's pages may lead back to its shop."""
    await storage.administration.change_return_origins(
        RESELLER, "https://shop.example", START, add=True
    )


def whole() -> NewInvitation:
    """Returns an invitation with all that can be said of a person."""
    return invite(
        reseller_id=RESELLER,
        name="Horns and Hooves",
        email="bender@example.com",
        person={"name": "Ostap", "tin": "7707083893"},
        actor=ACTOR,
        now=START,
        lifetime=INVITATION_LIFETIME,
        options=InvitationOptions(
            language="ru",
            inviter="Kozlevich",
            note="a-note-to-him",
            return_uri="https://shop.example/return-here",
        ),
        external_id="crm-17",
        labels={"kind": "vip-label"},
    )


def rows_with_secrets(database_url: str) -> list[str]:
    """Returns which tables have any of them."""
    found = []
    for table in metadata.sorted_tables:
        text = repr(query(database_url, f"SELECT * FROM {table.name}"))
        found += [f"{table.name}: {secret}" for secret in SECRETS if secret in text]
    return found


def in_file(database_url: str) -> list[str]:
    """Returns which of them are anywhere in a SQLite database's file."""
    content = Path(make_url(database_url).database or "").read_bytes()
    return [secret for secret in SECRETS if secret.encode() in content]


async def erase(stored: StoredInvitation, days: int = 2) -> bool:
    operators = stored.storage.operators
    return await operators.erase_customer(stored.made.customer.id, START + days * DAY, "ann")


# Columns that tell nothing of who a customer is.
TELLS_NOTHING = {
    *("n", "id", "reseller", "state", "created_at", "deleted_at", "invitation", "slot"),
    *("expires_at", "ended_at", "resent_at", "latest", "delivery", "sent"),
    *("previous_latest", "previous_resent_at", "previous_expires_at"),
    *("invitation_id", "operation_id", "billing_account_id"),
}


def test_each_column_of_a_customer_is_erased_or_tells_nothing() -> None:
    assert set(CustomerRow._fields) == TELLS_NOTHING | set(BLANKED)


def test_an_event_of_an_erased_customer_shows_no_column_that_is_erased() -> None:
    shown: dict[str, Any] = dict.fromkeys(CustomerPart._fields, 1)
    texts = set(BLANKED) & set(CustomerPart._fields) - {"modified_at"}
    shown |= {name: f'{{"": "the {name}"}}' for name in texts}
    data = customer_json(CustomerPart(**shown))
    assert data.count("the ") == len(texts)
    assert "the " not in blank(EventType.CUSTOMER_UPDATED, data)


async def test_nothing_tells_who_an_erased_customer_was(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage, whole())
    await stored.deliver()
    await corrected(stored, "corrected-once@example.com")
    await stored.deliver(START + DAY)
    await stored.answer(now=START + DAY)
    assert rows_with_secrets(database_url)
    before = [(event.type, event.created_at, event.actor) for event in await logged(storage)]
    assert await erase(stored)
    assert rows_with_secrets(database_url) == []
    # What happened, and when, stays; the last event tells who erased it.
    events = await logged(storage)
    assert [(event.type, event.created_at, event.actor) for event in events[:-1]] == before
    assert events[-1].type is EventType.CUSTOMER_ERASED
    assert events[-1].actor == Actor("operator:ann")
    assert isinstance(events[-1].data, Customer)
    customer = await storage.customers.get_customer(stored.made.customer.id)
    assert customer == events[-1].data
    assert (customer.name, customer.person, customer.email) == ("", {}, "")
    assert (customer.state, customer.external_id) == (CustomerState.ACTIVE, None)
    invitation = await stored.recorded()
    assert (invitation.email, invitation.state) == ("", InvitationState.ACCEPTED)
    assert invitation.options == InvitationOptions(language="ru")
    assert not await erase(stored)
    assert len(await logged(storage)) == len(events)
    audit = await storage.administration.list_audit_records(1)
    assert [(entry.actor, entry.action, entry.target) for entry in audit] == [
        ("ann", "customers.erase", stored.made.customer.id)
    ]


async def test_an_open_invitation_ends_and_is_not_sent(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage, whole())
    assert await erase(stored)
    assert (await stored.recorded()).state is InvitationState.REVOKED
    # Whoever claims it ends the operation, and sends nothing.
    assert await storage.mail.claim_deliveries(10, START + 3 * DAY, LEASE) == []
    operation = await stored.operation()
    assert operation.failure
    assert operation.failure.reason is Reason.INVITATION_STATE
    assert rows_with_secrets(database_url) == []
    assert not await erase(stored, days=4)


async def test_links_of_an_erased_customer_end(storage: SqlStorage) -> None:
    stored = await sent(storage, whole())
    assert await erase(stored)
    assert await stored.answer(now=START + 3 * DAY) is None


async def test_erasing_is_refused_while_an_e_mail_is_being_sent(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    stored = await recorded(storage, whole())
    delivery = await stored.claim()
    refusal = await refused(erase(stored.seen_by(other_process), days=0))
    assert refusal.reason is Reason.MAIL_UNDER_WAY
    assert refusal.metadata == {"operationId": stored.made.operation.id}
    assert await storage.mail.finish_delivery(delivery, START)
    assert await erase(stored)


async def test_a_customer_that_could_not_be_invited_is_erased(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage, whole())
    delivery = await stored.claim()
    assert await storage.mail.fail_delivery(delivery, REFUSED, START)
    assert await storage.customers.get_customer(stored.made.customer.id) is None
    assert rows_with_secrets(database_url)
    assert await erase(stored)
    assert rows_with_secrets(database_url) == []
    assert not await erase(stored)
    # Known by its events alone, once its operation is cleared.
    query(database_url, "DELETE FROM operations")
    assert not await erase(stored)


async def test_a_customer_without_an_invitation_is_erased(
    storage: SqlStorage, database_url: str
) -> None:
    made = create_reseller_served(
        reseller_id=RESELLER,
        name="Horns and Hooves",
        person={"name": "Ostap"},
        actor=ACTOR,
        now=START,
    )
    use = IdempotencyKey(uuid.uuid4().bytes, b"fingerprint")
    await storage.customers.create_customer(made, use)
    assert await storage.operators.erase_customer(made.customer.id, START + DAY, "ann")
    assert rows_with_secrets(database_url) == []
    found = await storage.customers.get_customer(made.customer.id)
    assert found
    assert (found.name, found.email, found.state) == ("", None, CustomerState.ACTIVE)


async def test_an_erased_customer_can_not_be_updated(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage, whole())
    await stored.deliver()
    await stored.answer()
    assert await erase(stored)
    told = len(await logged(storage))
    id_ = stored.made.customer.id
    changes = [
        CustomerChanges(name="Horns and Hooves"),
        CustomerChanges(person={"name": "Ostap"}),
        CustomerChanges(external_id="crm-17"),
        CustomerChanges(labels={"kind": "vip-label"}),
    ]
    for change in changes:
        for dry_run in (True, False):
            call = storage.customers.update_customer(
                RESELLER, id_, change, "", START + 3 * DAY, ACTOR, None, dry_run=dry_run
            )
            refusal = await refused(call)
            assert (refusal.reason, refusal.metadata) == (
                Reason.CUSTOMER_ERASED,
                {"customerId": id_},
            )
    assert rows_with_secrets(database_url) == []
    assert len(await logged(storage)) == told


async def test_an_unknown_one_is_not_found(storage: SqlStorage) -> None:
    with pytest.raises(BillingError) as refusal:
        await storage.operators.erase_customer("bcu00000000000000000", START, "ann")
    assert refusal.value.reason is Reason.NOT_FOUND


async def test_a_repeated_call_makes_nothing_again(storage: SqlStorage) -> None:
    made = whole()
    await storage.invitations.create_invitation(made, key("its key"))
    stored = StoredInvitation(storage, made)
    await stored.deliver()
    assert await stored.storage.operators.erase_customer(made.customer.id, START + MINUTE, "ann")
    again = storage.invitations.create_invitation(whole(), key("its key"))
    assert (await refused(again)).reason is Reason.IDEMPOTENCY_KEY_REUSED


async def test_an_address_that_bounced_is_kept_as_a_hash(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await recorded(storage, whole())
    token = token_of(await stored.deliver())
    assert (await storage.bounces.record_bounce(token, CAME_BACK, START + MINUTE)).is_recorded
    assert await erase(stored)
    assert rows_with_secrets(database_url) == []
    assert records(await storage.suppressions.list_suppressions(RESELLER, 10, None)) == []
    refusal = await refused(storage.invitations.create_invitation(whole(), None))
    assert refusal.reason is Reason.ADDRESS_SUPPRESSED
    # An operator can have it released.
    now = START + 3 * DAY
    assert await storage.administration.release_address("bender@example.com", now, "ann")
    await storage.invitations.create_invitation(whole(), None)


async def test_a_bounced_address_stays_listed_for_another_customer_there(
    storage: SqlStorage,
) -> None:
    stored = await sent(storage, whole())
    await stored.revoke()
    customer = await storage.customers.get_customer(stored.made.customer.id)
    assert customer
    await storage.customers.delete_customer(RESELLER, customer.id, "", START, ACTOR, None)
    other = await recorded(storage, whole())
    token = token_of(await other.deliver())
    assert (await storage.bounces.record_bounce(token, CAME_BACK, START + MINUTE)).is_recorded
    assert await erase(stored)
    assert len(await storage.suppressions.list_suppressions(RESELLER, 10, None)) == 1


async def test_two_erased_customers_can_be_undeleted(storage: SqlStorage) -> None:
    for _ in range(2):
        stored = await sent(storage, whole())
        await stored.answer()
        id_ = stored.made.customer.id
        at = START + DAY
        await storage.customers.delete_customer(RESELLER, id_, "", at, ACTOR, None)
        assert await erase(stored)
        found = await storage.customers.undelete_customer(
            RESELLER, id_, "", at + 2 * DAY, ACTOR, None
        )
        assert found
        assert found.name == ""


async def test_operators_find_invitations(storage: SqlStorage) -> None:
    stored = await recorded(storage, whole())
    now, made = START + MINUTE, stored.made
    found = await storage.operators.find_by_address("Bender@EXAMPLE.com", now, "ann")
    assert [one.invitation.id for one in found.invitations] == [made.invitation.id]
    assert found.invitations[0].customer_name == "Horns and Hooves"
    delivery = found.invitations[0].invitation.delivery
    assert delivery
    assert delivery.state is DeliveryState.QUEUED
    for id_ in (made.invitation.id, made.customer.id, made.operation.id):
        by_id = await storage.operators.find_by_id(id_, now, "ann")
        assert by_id == found
    assert isinstance(found.invitations[0].invitation, Invitation)
    for unknown in ("inv00000000000000000", "x", "%", "'"):
        nothing = await storage.operators.find_by_id(unknown, now, "ann")
        assert nothing.invitations == []
    audit = await storage.administration.list_audit_records(100)
    finds = [entry for entry in audit if entry.action == "invitations.find"]
    assert len(finds) == 8
    assert [entry.details for entry in finds if entry.target == "an address"] == [
        made.invitation.id
    ]


async def test_operators_have_late_e_mails_tried_now(storage: SqlStorage) -> None:
    operators = storage.operators
    late, other = await recorded(storage), await recorded(storage)
    for delivery in await storage.mail.claim_deliveries(10, START, LEASE):
        assert await storage.mail.retry_delivery(delivery, START + DAY, START, LATE)
    waiting = await operators.list_waiting_mail(10, START, "ann")
    assert {mail.operation_id for mail in waiting} == {
        late.made.operation.id,
        other.made.operation.id,
    }
    assert {(mail.domain, mail.attempts, mail.claimed) for mail in waiting} == {
        ("example.com", 1, False)
    }
    now = START + MINUTE
    assert await operators.retry_mail([late.made.invitation.id], now, "ann") == 1
    assert (await claimed(storage, now)).operation_id == late.made.operation.id
    # What is being sent is not tried twice.
    assert await operators.retry_mail([late.made.operation.id], now, "ann") == 0
    assert await operators.retry_mail([], now, "ann") == 1
    assert (await claimed(storage, now)).operation_id == other.made.operation.id
    assert await operators.retry_mail([], now, "ann") == 0
    audit = await storage.administration.list_audit_records(2)
    assert [entry.action for entry in audit] == ["mail.retry"] * 2


@on_sqlite
async def test_the_sqlite_file_holds_no_erased_data(storage: SqlStorage, database_url: str) -> None:
    stored = await sent(storage, whole())
    assert await erase(stored)
    await storage.close()
    async with opened(database_url):
        pass
    assert in_file(database_url) == []
