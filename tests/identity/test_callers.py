"""Who is let in, how soon changes are seen, and that refusals tell nothing."""

import asyncio
import logging
import math
import time
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import grpc
import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yandex.cloud.access import access_pb2

from server.domain.access import AuditRecord, Role, hash_token
from server.domain.errors import BillingError, Reason
from server.identity.claims import TokenError
from server.identity.key_ring import KeyRing
from server.identity.tokens import Tokens
from server.rpc.pipeline import authentication
from server.rpc.pipeline.authentication import (
    LONGEST_TOKEN,
    Authenticator,
)
from server.storage.interface import AccessStorage
from server.storage.notify.sockets import SocketTransport
from server.telemetry.failure_log import FailureLog
from tests.identity.forged import broken, hmac_signed
from tests.identity.served import RESELLER, Served, answer, refusal, serving

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
HOUR = timedelta(hours=1)


async def bad_tokens(served: Served) -> dict[str, str]:
    """Returns one token of each bad kind."""
    key = await served.account()
    good, revoked = await served.token(key), await served.token(key)
    await served.revoke(revoked, caller=good)
    gone = await served.account()
    of_removed = await served.token(gone)
    await served.storage.administration.remove_service_account(
        gone["service_account_id"], served.clock()
    )
    keyless = await served.account()
    of_removed_key = await served.token(keyless)
    await served.storage.administration.remove_account_key(keyless["id"], served.clock())
    ring = KeyRing(served.settings.iam_keys, served.clock).signing()
    now = served.clock()

    def signed(private: Any = ring.private, kid: str = ring.id, **claims: Any) -> str:
        usual = {
            "sub": key["service_account_id"],
            "key_id": key["id"],
            "iat": now,
            "exp": now + HOUR,
        }
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(payload, private, "EdDSA", {"kid": kid})

    await served.call(signed())
    foreign = Ed25519PrivateKey.generate()
    await served.storage.administration.add_access_token(
        hash_token("an-access-token-that-expired"), key["service_account_id"], now, now
    )
    return broken(good) | {
        "expired": signed(iat=now - 2 * HOUR, exp=now - HOUR),
        "expired just now": signed(iat=now - HOUR, exp=now),
        "not yet valid": signed(nbf=now + HOUR),
        "issued in the future": signed(iat=now + HOUR, exp=now + 2 * HOUR),
        "foreign key": signed(foreign),
        "foreign key and ID": signed(foreign, "20300102T030405000000Z-0a0a0a0a"),
        "wrong audience": signed(aud="https://elsewhere.example"),
        "public key as secret": hmac_signed(good, "public key", kid=ring.id),
        "revoked": revoked,
        "of a removed account": of_removed,
        "of a removed key": of_removed_key,
        "beyond all calendars": signed(exp=10**400),
        "issued beyond them": signed(iat=10**400),
        "endless": signed(exp=math.inf),
        "no subject": signed(sub=None),
        "no key": signed(key_id=None),
        "a number as key": signed(key_id=5),
        "half a character in the key": signed(key_id="\ud800"),
        "half a character in the subject": signed(sub="\ud800"),
        "of another's key": signed(sub=gone["service_account_id"]),
        "an assertion": served.assertion(key),
        "an expired access token": "an-access-token-that-expired",
        "an unknown access token": "u" * 43,
        "long": "x" * 8192,
        "longer": "x" * 8193,
        "huge": "x" * 20_000,
        "huge and signed": signed(padding="x" * 12_000),
    }


async def test_bad_tokens_are_refused_with_the_same_answer(served: Served) -> None:
    bad = await bad_tokens(served)
    answers = {}
    for name, token in bad.items():
        refusal = await served.refusal(token)
        assert refusal.code() is UNAUTHENTICATED, name
        answers[name] = refusal.details(), tuple(refusal.trailing_metadata() or ())
    assert len(set(answers.values())) == 1, answers


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "bearer", "Basic dTpw", "Token x", "x", "Bearerx x"]
)
async def test_other_headers_are_refused_with_the_same_answer(
    served: Served, authorization: str
) -> None:
    other, wrong = await refusal(served.call_with(authorization)), await served.refusal("x" * 43)
    assert other.code() is UNAUTHENTICATED
    assert other.details() == wrong.details()
    assert other.trailing_metadata() == wrong.trailing_metadata()


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bearerx", "Bearer,", ""])
async def test_a_good_token_is_refused_under_another_scheme(served: Served, scheme: str) -> None:
    token = await served.token(await served.account())
    error = await refusal(served.call_with(f"{scheme} {token}"))
    assert error.code() is UNAUTHENTICATED


async def test_the_scheme_is_known_in_any_case(served: Served) -> None:
    token = await served.token(await served.account())
    for header in (f"bearer {token}", f"BEARER {token}", f"Bearer  {token} "):
        await served.call_with(header)


async def test_tokens_and_reasons_stay_apart_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others of this process may have been told of already, and are only counted then.
    fresh = FailureLog(logging.getLogger(authentication.__name__))
    monkeypatch.setattr(authentication, "_REFUSED", fresh)
    caplog.set_level("DEBUG")
    for token in (await bad_tokens(served)).values():
        await served.refusal(token)
        parts = [part for part in token.split(".") if len(part) > 10]
        assert not [part for part in parts if part in caplog.text]
    assert "credentials refused: expired" in caplog.text


class _Key:
    """Stands for the key of tokens whose own is not known, and notes what it is to verify."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def verify(self, signature: bytes, content: bytes) -> None:
        self.asked.append(content)
        raise InvalidSignature


async def test_every_token_costs_a_check_of_a_signature(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that can't be read, or whose key is not known, too: else time would tell them apart."""
    good = await served.token(await served.account())
    tokens, key = Tokens(KeyRing(served.settings.iam_keys, served.clock)), _Key()
    monkeypatch.setattr(tokens, "_dummy_key", key)
    unknown = jwt.encode({}, Ed25519PrivateKey.generate(), "EdDSA", {"kid": "unknown"})
    bad = ["", "u" * 43, "a.b.c", hmac_signed(good, "secret", kid="none"), unknown]
    for token in bad:
        with pytest.raises(TokenError):
            await tokens.check(token, served.clock())
    assert key.asked == [token.encode() for token in bad]
    # Its own key verifies it.
    await tokens.check(good, served.clock())
    assert len(key.asked) == len(bad)


async def test_no_bad_token_takes_much_longer_than_another(served: Served) -> None:
    bad = await bad_tokens(served)
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(
        served.storage.access, Tokens(ring), served.clock, served.clock.monotonic
    )
    # The shortest of many tries is what the work itself takes, whatever else the machine does.
    shortest = dict.fromkeys(bad, math.inf)
    too_long = {name for name, token in bad.items() if len(token) > LONGEST_TOKEN}

    async def try_all() -> bool:
        """Tries each once; tells whether they are known to be close."""
        for name, token in bad.items():
            begun = time.perf_counter()
            with pytest.raises(BillingError):
                await authenticator.authenticate(f"Bearer {token}")
            shortest[name] = min(shortest[name], time.perf_counter() - begun)
        looked_at = [shortest[name] for name in bad if name not in too_long]
        return max(shortest.values()) < 5 * min(looked_at)

    for _ in range(300):
        if await try_all():
            return
    raise AssertionError(shortest)


async def test_huge_tokens_cost_nothing(served: Served) -> None:
    tokens, storage = AsyncMock(spec=Tokens), AsyncMock(spec=AccessStorage)
    authenticator = Authenticator(storage, tokens, served.clock)
    for token in ("x" * 8193, "." * 10**6):
        with pytest.raises(BillingError):
            await authenticator.authenticate(f"Bearer {token}")
    assert not tokens.check.called
    assert not storage.get_subject.called


async def test_roles_are_seen_at_once(served: Served) -> None:
    key = await served.account(None)
    account_id, storage, now = key["service_account_id"], served.storage, served.clock()
    token = await served.token(key)
    assert (await served.refusal(token)).code() is PERMISSION_DENIED
    await storage.administration.grant_role(account_id, RESELLER, Role.VIEWER, now)
    await served.call(token)
    await storage.administration.revoke_role(account_id, RESELLER, Role.VIEWER, now)
    assert (await served.refusal(token)).code() is PERMISSION_DENIED
    await storage.administration.grant_role(account_id, RESELLER, Role.ACCOUNTANT, now)
    await served.call(token)
    await storage.administration.remove_reseller(RESELLER, now)
    assert (await served.refusal(token)).code() is PERMISSION_DENIED


async def test_another_process_sees_changes_by_signal(served: Served) -> None:
    """The clocks stand, so that nothing is looked up again because of its age."""
    key = await served.account()
    account_id, now = key["service_account_id"], served.clock()
    token, other = await served.token(key), await served.token(key)
    async with serving(served.settings, served.clock) as second:

        async def refused(each: str, code: grpc.StatusCode) -> None:
            async with asyncio.timeout(30):
                while await answer(second.call(each)) is not code:
                    pass

        for each in (token, other):
            await second.call(each)
        await served.revoke(token, caller=other)
        await refused(token, UNAUTHENTICATED)
        await second.call(other)
        await served.storage.administration.revoke_role(account_id, RESELLER, Role.OWNER, now)
        await refused(other, PERMISSION_DENIED)
        # So does what callers give and take.
        owner = await served.account()
        giving = await served.token(owner)
        for action, outcome in (
            (access_pb2.ADD, grpc.StatusCode.OK),
            (access_pb2.REMOVE, PERMISSION_DENIED),
        ):
            await served.give_role(giving, account_id, action)
            await refused(other, outcome)
        await served.storage.administration.remove_service_account(account_id, now)
        await refused(other, UNAUTHENTICATED)


@pytest.mark.parametrize("wrong_by", [timedelta(), -HOUR / 2])
async def test_a_missed_signal_costs_five_seconds(
    served: Served, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta
) -> None:
    """Also where the time of day is set back meanwhile."""
    key = await served.account()
    token = await served.token(key)
    async with serving(served.settings, served.clock) as second:
        await second.call(token)
        monkeypatch.setattr(SocketTransport, "send", lambda *_: None)
        await served.storage.administration.remove_service_account(
            key["service_account_id"], served.clock()
        )
        await second.call(token)
        served.clock.wrong_by = wrong_by
        served.clock.at += timedelta(seconds=5)
        assert (await second.refusal(token)).code() is UNAUTHENTICATED


async def test_a_dropped_key_proves_nothing_at_once_in_any_process(served: Served) -> None:
    """The clocks stand, so that nothing is looked at again because of its age."""
    key = await served.account()
    token = await served.token(key)
    async with serving(served.settings, served.clock) as second:
        for each in (served, second):
            await each.call(token)
        KeyRing(served.settings.iam_keys, served.clock, make=False).rotate(drop_old=True)
        record = AuditRecord(served.clock(), "test", "iam-keys.rotate", "", "")
        await served.storage.administration.add_audit_record(record)
        assert (await served.refusal(token)).code() is UNAUTHENTICATED
        async with asyncio.timeout(30):
            while await answer(second.call(token)) is not UNAUTHENTICATED:
                pass
        for each in (served, second):
            await each.call(await each.token(key))


async def test_without_keys_nothing_is_signed_or_accepted(served: Served) -> None:
    key = await served.account()
    token = await served.token(key)
    for file in served.settings.iam_keys.glob("*.pem"):
        file.unlink()
    await served.storage.administration.add_audit_record(
        AuditRecord(served.clock(), "test", "a", "", "")
    )
    assert (await served.refusal(token)).code() is UNAUTHENTICATED
    error = await refusal(served.exchange(served.assertion(key)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "iam-keys rotate" in str(error.details())
    KeyRing(served.settings.iam_keys, served.clock, make=False).rotate()
    await served.storage.administration.add_audit_record(
        AuditRecord(served.clock(), "test", "a", "", "")
    )
    assert (await served.refusal(token)).code() is UNAUTHENTICATED
    await served.call(await served.token(key))


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("between", [" ", "\t", "~", ".", "=", "é"])
async def test_characters_within_a_signature_make_another_token(
    served: Served, between: str, times: int
) -> None:
    token = await served.token(await served.account())
    ring = KeyRing(served.settings.iam_keys, served.clock)
    authenticator = Authenticator(served.storage.access, Tokens(ring), served.clock)
    await authenticator.authenticate(f"Bearer {token}")
    with pytest.raises(BillingError) as refused:
        await authenticator.authenticate(f"Bearer {token[:-5]}{between * times}{token[-5:]}")
    assert refused.value.reason is Reason.CREDENTIALS_INVALID


async def test_a_token_of_another_process_with_a_new_key(served: Served) -> None:
    async with serving(served.settings, served.clock) as second:
        KeyRing(served.settings.iam_keys, served.clock).rotate()
        key = await second.account()
        fresh = KeyRing(served.settings.iam_keys, served.clock)
        token, _ = Tokens(fresh).issue(key["service_account_id"], key["id"], served.clock())
        for each in (served, second):
            await each.call(token)
