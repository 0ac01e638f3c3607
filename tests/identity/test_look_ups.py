"""What is remembered of callers, so that most calls look up nothing, and for how long."""

import asyncio
import math
import time
import tracemalloc
from datetime import timedelta
from unittest.mock import AsyncMock

import grpc
import jwt
import pytest

from server.domain.access import Role, Subject, VerifiedToken
from server.domain.errors import BillingError, Reason
from server.identity.key_ring import KeyRing
from server.identity.tokens import Tokens
from server.rpc.pipeline.authentication import (
    MAX_BYTES,
    MAX_CHECKS,
    Authenticator,
)
from server.storage.interface import AccessStorage
from server.storage.interface.deadlines import end_within, time_to_answer_s
from tests.identity.served import RESELLER, Served, answer
from tests.rpc.test_availability import DEADLINE_S, deadline_is_near
from tests.storage.records import until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
HOUR = timedelta(hours=1)


async def test_most_calls_cost_no_look_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    found = served.storage.access.get_proven_subject

    async def counted(proof: VerifiedToken) -> Subject | None:
        looked_up.append(proof.subject_id)
        return await found(proof)

    monkeypatch.setattr(served.storage.access, "get_proven_subject", counted)
    token = await served.token(await served.account())
    await asyncio.gather(*(served.call(token) for _ in range(20)))
    assert len(looked_up) == 1
    served.clock.at += timedelta(seconds=5)
    await served.call(token)
    assert len(looked_up) == 2


async def test_calls_with_one_token_wait_for_one_look_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await served.token(await served.account())
    tokens = Tokens(KeyRing(served.settings.iam_keys, served.clock))
    authenticator = Authenticator(served.storage.access, tokens, served.clock)
    looked_up, goes_on = [], asyncio.Event()
    find = served.storage.access.get_proven_subject

    async def found_late(proof: VerifiedToken) -> Subject | None:
        looked_up.append(proof.subject_id)
        await goes_on.wait()
        return await find(proof)

    monkeypatch.setattr(served.storage.access, "get_proven_subject", found_late)
    calls = [asyncio.create_task(authenticator.authenticate(f"Bearer {token}")) for _ in range(20)]
    async with asyncio.timeout(60):
        await until(lambda: bool(looked_up))
        goes_on.set()
        assert len({subject.id for subject in await asyncio.gather(*calls)}) == 1
    assert len(looked_up) == 1


async def test_a_look_up_that_a_change_of_rights_overtakes_counts_for_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the call that began it: no later one waits for it, or has what it found."""
    key = await served.account(None)
    token = await served.token(key)
    looked_up, goes_on = asyncio.Event(), asyncio.Event()
    find = served.storage.access.get_proven_subject

    async def found_late(proof: VerifiedToken) -> Subject | None:
        found = await find(proof)
        if not looked_up.is_set():
            looked_up.set()
            await goes_on.wait()
        return found

    monkeypatch.setattr(served.storage.access, "get_proven_subject", found_late)
    first = asyncio.create_task(answer(served.call(token)))
    async with asyncio.timeout(30):
        await looked_up.wait()
        now = served.clock()
        await served.storage.administration.grant_role(
            key["service_account_id"], RESELLER, Role.VIEWER, now
        )
        assert await answer(served.call(token)) is grpc.StatusCode.OK
        goes_on.set()
        assert await first is PERMISSION_DENIED
        assert await answer(served.call(token)) is grpc.StatusCode.OK


async def test_a_subject_is_not_remembered_past_its_tokens_end(served: Served) -> None:
    key = await served.account()
    ring = KeyRing(served.settings.iam_keys, served.clock).signing()
    now = served.clock()
    claims = {
        "sub": key["service_account_id"],
        "key_id": key["id"],
        "iat": now,
        "exp": now.replace(microsecond=0) + timedelta(seconds=2),
    }
    token = jwt.encode(claims, ring.private, "EdDSA", {"kid": ring.id})
    await served.call(token)
    served.clock.at += timedelta(seconds=1)
    await served.call(token)
    served.clock.at += timedelta(seconds=1)
    assert (await served.refusal(token)).code() is UNAUTHENTICATED


async def test_one_token_is_remembered_once_however_it_is_spelt(served: Served) -> None:
    token = await served.token(await served.account())
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(served.storage.access, Tokens(ring), served.clock)
    usual = f"Bearer {token}"
    await authenticator.authenticate(usual)
    tracemalloc.start()
    for number in range(4000):
        blanks = " " * (number % 100)
        spelt = f"{'bearer' if number % 2 else 'BEARER'} {blanks}{token}{'=' * (number % 3)}"
        spelt += " " * (number // 100)
        await authenticator.authenticate(spelt)
        assert authenticator.cached_subject(spelt) is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20
    assert authenticator.cached_subject(usual)


# By fours, since the library looks at the length alone before it skips what is no base64.
@pytest.mark.parametrize(("resellers", "length"), [(1, 8000), (200, 50)])
async def test_what_is_remembered_of_callers_is_bounded_by_memory(
    served: Served, resellers: int, length: int
) -> None:
    roles = {f"reseller-{number}": frozenset({Role.VIEWER}) for number in range(resellers)}

    async def found(*_: object) -> Subject:
        return Subject("a" * 20, {f"{each} ": frozenset(set(role)) for each, role in roles.items()})

    storage = AsyncMock(spec=AccessStorage, get_subject=found)
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(storage, Tokens(ring), served.clock)
    tracemalloc.start()
    for number in range(5000):
        await authenticator.authenticate(f"Bearer {number:0{length}}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MAX_BYTES * 1.2
    assert authenticator.cached_subject(f"Bearer {4999:0{length}}")
    assert authenticator.cached_subject(f"Bearer {0:0{length}}") is None


async def test_tokens_that_are_being_looked_up_are_bounded(served: Served) -> None:
    over = asyncio.Event()

    async def never(*_: object) -> None:
        await over.wait()

    storage = AsyncMock(spec=AccessStorage, get_subject=never)
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(storage, Tokens(ring), served.clock)
    for number in range(MAX_CHECKS):
        asking = asyncio.create_task(authenticator.authenticate(f"Bearer {number:040}"))
        await asyncio.sleep(0)
        asking.cancel()  # who goes away leaves the look-up behind
    with pytest.raises(BillingError) as refused:
        await authenticator.authenticate(f"Bearer {'x' * 40}")
    assert refused.value.reason is Reason.OVERLOADED
    over.set()
    await asyncio.gather(*authenticator._checks.values(), return_exceptions=True)
    with pytest.raises(BillingError) as refused:
        await authenticator.authenticate(f"Bearer {'x' * 40}")
    assert refused.value.reason is Reason.CREDENTIALS_INVALID


async def test_who_is_in_a_hurry_ends_no_look_up_that_others_wait_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, answered_within = asyncio.Event(), []

    async def late(*_: object) -> Subject:
        answered_within.append(time_to_answer_s(time.monotonic()))
        await over.wait()
        return Subject("a" * 20, {})

    storage = AsyncMock(spec=AccessStorage, get_subject=late)
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(storage, Tokens(ring), served.clock)

    async def hurry() -> Subject:
        end_within(DEADLINE_S)
        return await authenticator.authenticate("Bearer token")

    deadline_is_near(monkeypatch)
    async with asyncio.timeout(30):
        hurried = asyncio.create_task(hurry())
        await until(lambda: bool(answered_within))
        other = asyncio.create_task(authenticator.authenticate("Bearer token"))
        with pytest.raises(BillingError) as refused:
            await hurried
        over.set()
        assert (await other).id == "a" * 20
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert answered_within == [math.inf]
