"""Links that a reseller hands over itself, and invitations that no e-mail is sent for."""

from server.domain.errors import Reason
from server.domain.invitation_options import DeliveryMethod, InvitationOptions
from server.domain.invitations import (
    InvitationState,
    NewInvitation,
    invite,
    link_token_hash,
    new_link_token,
    resend,
)
from server.domain.limits import Limits
from server.storage import open_storage
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.records import ACTOR, DAY, INVITATION_LIFETIME, LEASE, RESELLER, START, key, new
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded, refused, sent

OPTIONS = InvitationOptions(
    "ru", "Анна", "Строка\nи ещё", 2 * DAY, "https://shop.example/", DeliveryMethod.LINK
)


def by_link(email: str = "someone@example.com") -> NewInvitation:
    return invite(
        reseller_id=RESELLER,
        name="Customer",
        email=email,
        person={},
        actor=ACTOR,
        now=START,
        lifetime=INVITATION_LIFETIME,
        options=OPTIONS,
    )


async def link(stored: StoredInvitation, use: str = "") -> str:
    token = new_link_token()
    found = await stored.storage.invitations.create_link(
        stored.made.invitation.id,
        link_token_hash(token),
        *(START + MINUTE, ACTOR, key(use) if use else None),
    )
    assert found
    return token


async def test_all_that_is_done_by_link_keeps_the_database_consistent(
    storage: SqlStorage, database_url: str
) -> None:
    administration = storage.administration
    await administration.change_return_origins(RESELLER, "https://shop.example", START, add=True)
    stored = await recorded(storage, by_link())
    found = await stored.recorded()
    assert found.options == OPTIONS
    assert found.expires_at == START + 2 * DAY
    assert (await stored.operation()).done
    old = await link(stored)
    operation = resend(
        stored.made.customer, resent_by="s", now=START + MINUTE, method=DeliveryMethod.LINK
    )
    await storage.invitations.resend_invitation(
        *(found.id, operation, START + 2 * DAY, MINUTE, ACTOR, None)
    )
    assert await stored.answer(token=old) is None
    mailed = await sent(storage)
    await link(mailed)
    early = await recorded(storage)
    assert await early.answer(token=await link(early))
    assert [each.count for each in check(database_url) if each.count] == []
    assert not await storage.mail.claim_deliveries(10, START + DAY, LEASE)
    assert (await early.operation()).done
    answered = await stored.answer(token=await link(stored))
    assert answered
    assert answered.state is InvitationState.ACCEPTED
    assert [each for each in check(database_url) if each.count] == []


async def test_a_repeat_by_key_makes_no_second_link(storage: SqlStorage) -> None:
    stored = await sent(storage)
    await link(stored, "first")
    error = await refused(link(stored, "first"))
    assert error.reason is Reason.LINK_SHOWN_ONCE
    await stored.revoke()
    assert (await refused(link(stored, "first"))).reason is Reason.LINK_SHOWN_ONCE
    assert (await refused(link(stored, "second"))).reason is Reason.INVITATION_STATE


async def test_an_invitation_by_link_counts_for_no_limit_of_e_mails(
    storage: SqlStorage, database_url: str
) -> None:
    await storage.administration.change_return_origins(
        RESELLER, "https://shop.example", START, add=True
    )
    limits = Limits(mail_per_address_h=1, mail_per_reseller_h=1)
    limited = await open_storage(database_url, idempotency_lifetime=DAY, limits=limits)
    try:
        await recorded(limited, by_link())
        await recorded(limited, new("someone@example.com", tin="2"))
        error = await refused(recorded(limited, new("someone@example.com", tin="3")))
        assert error.reason is Reason.MAIL_LIMIT_REACHED
        await recorded(limited, by_link("other@example.com"))
    finally:
        await limited.close()
