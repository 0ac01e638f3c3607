"""Two things with one hash are two things: invitations to addresses, and by tax numbers."""

import asyncio

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.invitations import InvitationState, link_token_hash
from server.domain.mail import DeliveryState
from server.storage import suppressions
from server.storage.invitations import addresses, lists
from server.storage.invitations import storage as invitations
from server.storage.schema.tables import AddressKey, Slot
from server.storage.storage import SqlStorage
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    RESELLER,
    SECOND_RESELLER,
    START,
    new,
)
from tests.storage.records import invitations as wanted
from tests.storage.records import records as bare
from tests.storage.stored_invitation import sent

ADDRESSES = ("a@example.com", "b@example.com")


@pytest.fixture(autouse=True)
def one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives all addresses, and all tax numbers, the same hash."""
    for module in (addresses, invitations, lists, suppressions):
        monkeypatch.setattr(module, "address_hash", lambda _: AddressKey(7))
    for module in (addresses, invitations):
        monkeypatch.setattr(module, "open_slot", lambda *_: Slot(3))


async def _refused(storage: SqlStorage, email: str, tin: str, reseller: str = RESELLER) -> bool:
    again = new(email, tin=tin, reseller_id=reseller)
    (outcome,) = await asyncio.gather(
        storage.invitations.create_invitation(again, None), return_exceptions=True
    )
    if isinstance(outcome, BillingError):
        assert outcome.reason is Reason.INVITATION_OPEN
        return True
    assert outcome == again.operation
    return False


@pytest.mark.parametrize("at_once", [True, False])
async def test_each_address_and_tax_number_is_open_once_for_a_reseller(
    storage: SqlStorage, other_process: SqlStorage, at_once: bool
) -> None:
    wanted = [
        (email, tin, reseller)
        for email in ADDRESSES
        for tin in ("", "7736207543", "7707083893")
        for reseller in (RESELLER, SECOND_RESELLER)
    ]
    if at_once:
        calls = [
            _refused(each, *one) for one in wanted for each in (storage, other_process, storage)
        ]
        refused = await asyncio.gather(*calls)
        assert refused.count(False) == len(wanted)
    else:
        for one in wanted:
            assert not await _refused(storage, *one)
    for one in wanted:
        assert await _refused(storage, *one)


async def test_lists_hold_those_for_the_address_alone(storage: SqlStorage) -> None:
    made = []
    for number in range(20):
        given = new(ADDRESSES[number % 2], tin=str(number), now=START + number * DAY / 100)
        await storage.invitations.create_invitation(given, None)
        made.append(given.invitation)
    for invitation in made[:10]:
        await storage.invitations.revoke_invitation(invitation.id, START + DAY, ACTOR, None)
    for state, all_of_them in (
        (None, made),
        (InvitationState.REVOKED, made[:10]),
        (InvitationState.PENDING, made[10:]),
    ):
        expected = [each.id for each in reversed(all_of_them) if each.email == ADDRESSES[0]]
        for limit in (1, 3, 100):
            seen: list[str] = []
            after = None
            while page := (
                await storage.invitations.list_invitations(
                    wanted(state, ADDRESSES[0]), START + DAY, limit, after
                )
            ).rows:
                assert len(page) <= limit
                seen += [each.id for each in bare(page)]
                after = page[-1].cursor
            assert seen == expected


async def test_a_lapsed_one_makes_room_for_its_own_kind(storage: SqlStorage) -> None:
    for email in ADDRESSES:
        await storage.invitations.create_invitation(new(email), None)
    later = START + INVITATION_LIFETIME
    for email in ADDRESSES:
        await storage.invitations.create_invitation(new(email, now=later), None)
    for email in ADDRESSES:
        with pytest.raises(BillingError):
            await storage.invitations.create_invitation(new(email, now=later), None)


async def test_only_the_suppressed_address_is_marked(storage: SqlStorage) -> None:
    one, other = [await sent(storage, new(email)) for email in ADDRESSES]
    link = link_token_hash(one.token)
    assert await storage.suppressions.suppress_by_link(link, START + DAY, ACTOR)
    delivery = (await one.recorded()).delivery
    assert delivery and delivery.state is DeliveryState.SUPPRESSED
    delivery = (await other.recorded()).delivery
    assert delivery and delivery.state is DeliveryState.SENT
