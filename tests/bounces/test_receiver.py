"""The mail server for what comes back: real SMTP and LMTP, real storage."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import aiosmtplib
import pytest
import pytest_asyncio

from server.bounces import receiver as module
from server.bounces.receiver import MOST_BYTES, MOST_OF_ONE_ADDRESS, BounceReceiver
from server.domain.errors import BillingError, Reason
from server.domain.mail import DeliveryState
from server.storage.interface import Delivery, Storage
from server.worker.mail.messages import MessageBuilder
from tests.bounces.samples import SAMPLES
from tests.clock import Clock
from tests.worker.conftest import clock, database, storage
from tests.worker.harness import START, invited

__all__ = ["clock", "database", "storage"]  # fixtures

DOMAIN = "Bounces.example.com"


@pytest_asyncio.fixture
async def receiver(storage: Storage, clock: Clock) -> AsyncIterator[BounceReceiver]:
    receiver = BounceReceiver(storage.bounces, DOMAIN, clock)
    await receiver.listen("127.0.0.1", 0)
    yield receiver
    await receiver.stop()


@pytest_asyncio.fixture
async def delivery(storage: Storage, clock: Clock) -> Delivery:
    """An e-mail that has gone out."""
    await invited(storage)
    (delivery,) = await storage.mail.claim_deliveries(1, clock(), START - START.replace(hour=11))
    await storage.mail.finish_delivery(delivery, clock())
    return delivery


def sender_of(delivery: Delivery, clock: Clock) -> str:
    messages = MessageBuilder(
        "Billing <billing@example.com>", "http://localhost/i/", clock, bounce_domain=DOMAIN
    )
    return messages.invitation(delivery).sender


def client(receiver: BounceReceiver) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(hostname="127.0.0.1", port=receiver.port, start_tls=False, timeout=20)


async def state(storage: Storage, delivery: Delivery) -> DeliveryState | None:
    found = await storage.invitations.get_invitation(delivery.invitation_id)
    assert found
    assert found.delivery
    return found.delivery.state


async def test_each_e_mail_has_an_address_of_its_own(
    receiver: BounceReceiver,
    storage: Storage,
    delivery: Delivery,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    address = sender_of(delivery, clock)
    assert address.startswith("b-")
    assert len(address.partition("@")[0]) <= 64
    async with client(receiver) as smtp:
        for name in ("out of office", "postfix is late", "a person"):
            sample = SAMPLES[name]
            await smtp.sendmail(sample.reverse_path, [address], sample.content)
            assert await state(storage, delivery) is DeliveryState.SENT
        for _ in range(2):
            await smtp.sendmail("", [address], SAMPLES["postfix"].content)
            assert await state(storage, delivery) is DeliveryState.BOUNCED
    (told,) = {str(vars(each)["ids"]) for each in caplog.records if "came back" in each.message}
    for id_ in ("operation_id", "invitation_id", "customer_id", "reseller_id"):
        assert getattr(delivery, id_) in told
    assert "5.1.1" in caplog.text
    for private in ("customer.test", address, delivery.email):
        assert private not in caplog.text


async def test_lmtp_is_spoken_too(
    receiver: BounceReceiver, storage: Storage, delivery: Delivery, clock: Clock
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    content = SAMPLES["gmail"].content.replace(b"\r\n.", b"\r\n..")
    answers = []
    await reader.readline()
    for words in (
        b"LHLO relay.test\r\n",
        b"MAIL FROM:<>\r\n",
        f"RCPT TO:<{sender_of(delivery, clock)}>\r\n".encode(),
        b"DATA\r\n",
        content + b".\r\n",
    ):
        writer.write(words)
        line = await reader.readline()
        while line[3:4] == b"-":
            line = await reader.readline()
        answers.append(int(line[:3]))
    writer.close()
    assert answers == [250, 250, 250, 354, 250]
    assert await state(storage, delivery) is DeliveryState.BOUNCED


async def test_strangers_are_not_listened_to(
    receiver: BounceReceiver, delivery: Delivery, clock: Clock
) -> None:
    right = sender_of(delivery, clock)
    local_part = right.partition("@")[0]
    forged = local_part[:-4] + ("0000" if local_part[-4:] != "0000" else "1111")
    async with client(receiver) as smtp:
        for wrong in (
            f"{forged}@{DOMAIN}",
            f"{local_part}@example.com",
            f"billing@{DOMAIN}",
            f"b-{'0' * 32}@{DOMAIN}",
        ):
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
                await smtp.sendmail("", [wrong], b"Subject: x\r\n\r\n")
            assert [each.code for each in refused.value.recipients] == [550]
        await smtp.mail("")
        await smtp.rcpt(right)
        with pytest.raises(aiosmtplib.SMTPResponseException) as too_large:
            await smtp.data(b"x" * 70 + b"\r\n" * (MOST_BYTES // 2))
        assert too_large.value.code == 552
        await smtp.rset()
        await smtp.mail("")
        await smtp.rcpt(right)
        with pytest.raises(aiosmtplib.SMTPRecipientRefused):
            await smtp.rcpt(right)


async def test_connections_of_one_address_are_few(receiver: BounceReceiver) -> None:
    opened = [
        await asyncio.open_connection("127.0.0.1", receiver.port)
        for _ in range(MOST_OF_ONE_ADDRESS)
    ]
    for reader, _ in opened:
        assert (await reader.readline()).startswith(b"220")
    reader, one_more = await asyncio.open_connection("127.0.0.1", receiver.port)
    assert (await reader.readline()).startswith(b"421")
    assert await reader.read() == b""
    one_more.close()
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    async with client(receiver) as smtp:
        await smtp.noop()


async def test_what_overtakes_the_record_of_sending_is_asked_for_again(
    receiver: BounceReceiver, storage: Storage, clock: Clock, tmp_path: Path
) -> None:
    await invited(storage)
    (claimed,) = await storage.mail.claim_deliveries(1, clock(), START - START.replace(hour=11))
    address = sender_of(claimed, clock)
    async with client(receiver) as smtp:
        with pytest.raises(aiosmtplib.SMTPResponseException) as later:
            await smtp.sendmail("", [address], SAMPLES["postfix"].content)
        assert later.value.code == 451
        await storage.mail.finish_delivery(claimed, clock())
        await smtp.sendmail("", [address], SAMPLES["postfix"].content)
    assert await state(storage, claimed) is DeliveryState.BOUNCED


async def test_what_can_not_be_recorded_is_asked_for_again(
    receiver: BounceReceiver,
    storage: Storage,
    delivery: Delivery,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> None:
        raise BillingError(Reason.STORAGE_UNAVAILABLE, "Try again.")

    async def broken(*_: object) -> None:
        raise LookupError("a bug")

    address, content = sender_of(delivery, clock), SAMPLES["postfix"].content
    async with client(receiver) as smtp:
        for name, fault in product(("knows_bounce", "record_bounce"), (away, broken)):
            with monkeypatch.context() as faulty:
                faulty.setattr(storage.bounces, name, fault)
                with pytest.raises(aiosmtplib.SMTPException) as later:
                    await smtp.sendmail("", [address], content)
                assert "451" in str(later.value)
            await smtp.rset()
        await smtp.sendmail("", [address], content)
    assert await state(storage, delivery) is DeliveryState.BOUNCED


async def test_all_connections_are_counted_and_end(
    receiver: BounceReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says a word now and then keeps none for ever."""
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(module, "_LONGEST_S", 0.5)
    async with asyncio.timeout(30):
        several = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(3)]
        greetings = [(await reader.readline())[:3] for reader, _ in several]
        assert greetings == [b"220", b"220", b"421"]
        for reader, writer in several:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
    assert receiver._sessions == set()
    assert not receiver._by_address


FLOODS = {
    "empty lines": b"\n" * (1 << 18),
    "lines of another character set": b"\xff\n" * (1 << 17),
    "lines that are too long": (b"x" * 600 + b"\n") * 400,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_lines_holds_nobody_up(receiver: BounceReceiver, flood: bytes) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port, limit=1 << 22)
    longest, looked_at = 0.0, loop.time()
    writer.write(flood)
    answers = asyncio.create_task(reader.read())
    while not answers.done():
        await asyncio.sleep(0.001)
        longest, looked_at = max(longest, loop.time() - looked_at), loop.time()
    writer.close()
    # All of it took seconds.
    assert longest < 0.5
    with contextlib.suppress(ConnectionError):
        assert b"421 4.7.0" in await answers


async def test_lines_of_an_e_mail_hold_nobody_up(
    receiver: BounceReceiver, delivery: Delivery, clock: Clock
) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    await reader.readline()
    for words in (
        "LHLO relay.test",
        "MAIL FROM:<>",
        f"RCPT TO:<{sender_of(delivery, clock)}>",
        "DATA",
    ):
        writer.write(f"{words}\r\n".encode())
        while (await reader.readline())[3:4] == b"-":
            pass
    writer.write(b"\r\n" * (MOST_BYTES * 2) + b".\r\n")
    longest, looked_at = 0.0, loop.time()
    answer = asyncio.create_task(reader.readline())
    while not answer.done():
        await asyncio.sleep(0.001)
        longest, looked_at = max(longest, loop.time() - looked_at), loop.time()
    writer.close()
    assert (await answer).startswith(b"552")
    assert longest < 0.5
