from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from yandex.cloud.billing.v1 import customer_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2

from server.config import Settings
from server.domain.access import hash_token
from server.identity.account_keys import new_account_key
from tests.identity.forged import broken, hmac_signed
from tests.identity.served import RESELLER, Served, bearer, refusal, serving

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def details(error: grpc.aio.AioRpcError, kind: type[Message]) -> Any:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status
    for detail in status.details:
        found = kind()
        if detail.Unpack(found):
            return found
    raise AssertionError(f"no {kind.__name__}")


async def test_an_assertion_becomes_a_token_that_proves_the_account(served: Served) -> None:
    key = await served.account()
    answer = await served.exchange(served.assertion(key))
    ends_at = answer.expires_at.ToDatetime(UTC)
    assert served.clock() < ends_at <= served.clock() + timedelta(hours=12)
    operation = await served.customers.CreateResellerServed(
        customer_service_pb2.CreateResellerServedCustomerRequest(
            reseller_id=RESELLER,
            name="A customer",
            person=customer_service_pb2.CustomerPerson(name="A person"),
        ),
        metadata=bearer(answer.iam_token),
    )
    assert operation.created_by == key["service_account_id"]
    served.clock.at = ends_at - timedelta(seconds=1)
    await served.call(answer.iam_token)
    served.clock.at = ends_at
    assert (await served.refusal(answer.iam_token)).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "audience",
    [
        "https://iam.localhost:8443/iam/v1/tokens",
        "https://iam.127.0.0.1:8443/iam/v1/tokens",
        "https://iam.api.cloud.yandex.net/iam/v1/tokens",
        "https://iam.billing.example:443/iam/v1/tokens",
        ["https://elsewhere.example", "https://iam.localhost:8443/iam/v1/tokens"],
    ],
)
async def test_audiences_that_are_ours(served: Served, audience: str | list[str]) -> None:
    await served.exchange(served.assertion(await served.account(), aud=audience))


async def test_the_published_host_is_no_audience_unless_asked_for(tmp_path: Path) -> None:
    async with serving(Settings(var=tmp_path, rate_limit=0)) as served:
        key = await served.account()
        published = served.assertion(key, aud="https://iam.api.cloud.yandex.net/iam/v1/tokens")
        assert (await refusal(served.exchange(published))).code() is (
            grpc.StatusCode.UNAUTHENTICATED
        )
        await served.exchange(served.assertion(key))


async def test_two_tokens_of_one_second_differ(served: Served) -> None:
    assertion = served.assertion(await served.account())
    first, second = [(await served.exchange(assertion)).iam_token for _ in range(2)]
    assert first != second


async def test_a_clock_that_is_a_little_ahead_is_forgiven(served: Served) -> None:
    key = await served.account()
    at = served.clock() + timedelta(seconds=50)
    await served.exchange(served.assertion(key, iat=at, nbf=at, exp=at + HOUR))


async def test_bad_assertions_are_refused_alike(served: Served) -> None:
    key, other = await served.account(), await served.account()
    _, unknown = new_account_key(key["service_account_id"], served.clock())
    now = served.clock()
    good = served.assertion(key)
    bad = broken(good) | {
        "expired": served.assertion(key, iat=now - 2 * HOUR, exp=now - HOUR),
        "expired a moment ago": served.assertion(key, iat=now - HOUR, exp=now),
        "not yet valid": served.assertion(key, nbf=now + 2 * MINUTE),
        "issued in the future": served.assertion(key, iat=now + 2 * MINUTE),
        "holds too long": served.assertion(key, exp=now + HOUR + 2 * MINUTE),
        "holds for ever": served.assertion(key, exp=None),
        "endless": served.assertion(key, exp=float("inf")),
        "beyond all calendars": served.assertion(key, exp=10**18),
        "beyond all numbers": served.assertion(key, exp=10**400),
        "exp is text": served.assertion(key, exp="tomorrow"),
        "exp is true": served.assertion(key, exp=True),
        "no iat": served.assertion(key, iat=None),
        "wrong audience": served.assertion(key, aud="https://iam.evil.example/iam/v1/tokens"),
        "audience of numbers": served.assertion(key, aud=[1]),
        "no audience": served.assertion(key, aud=None),
        "no issuer": served.assertion(key, iss=None),
        "another's issuer": served.assertion(key, iss=other["service_account_id"]),
        "another's key": served.assertion(
            {**other, "id": key["id"]}, iss=key["service_account_id"]
        ),
        "unknown key": served.assertion(unknown),
        "no key": served.assertion(key, headers={"kid": ""}),
        "key with NUL": served.assertion(key, headers={"kid": "a\0b"}),
        "half a character": served.assertion(key, headers={"kid": "\ud800"}),
        "RS256": served.assertion(key, algorithm="RS256"),
        "PS512": served.assertion(key, algorithm="PS512"),
        "public key as secret": hmac_signed(good, key["public_key"], kid=key["id"]),
        "as long as may be": "x" * 8000,
    }
    refusals = {name: await refusal(served.exchange(assertion)) for name, assertion in bad.items()}
    for name, error in refusals.items():
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED, name
    assert len({error.details() for error in refusals.values()}) == 1
    reasons = {details(error, error_details_pb2.ErrorInfo).reason for error in refusals.values()}
    assert reasons == {"CREDENTIALS_INVALID"}
    # What can be wrong is said, which of it was is not, nor to do again what was just done.
    advice = str(refusals["expired"].details())
    for part in ("clock", "`exp`", "`aud`", "`kid`", "`iss`", "PS256", "an hour"):
        assert part in advice
    assert "get a new IAM token" not in advice
    await served.exchange(good)


async def test_an_assertion_longer_than_published_is_a_bad_request(served: Served) -> None:
    error = await refusal(served.exchange("x" * 8001))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_removed_key_proves_nothing_nor_do_its_tokens(served: Served) -> None:
    key = await served.account()
    second = await served.key(key["service_account_id"])
    tokens = [await served.token(each) for each in (key, second)]
    for token in tokens:
        await served.call(token)
    assert await served.storage.administration.remove_account_key(key["id"], served.clock())
    assert (await served.refusal(tokens[0])).code() is grpc.StatusCode.UNAUTHENTICATED
    assert (
        await refusal(served.exchange(served.assertion(key)))
    ).code() is grpc.StatusCode.UNAUTHENTICATED
    await served.call(tokens[1])


async def test_a_removed_account_proves_nothing_nor_do_its_tokens(served: Served) -> None:
    key = await served.account()
    account_id = key["service_account_id"]
    await served.storage.administration.add_access_token(
        hash_token("long-lived"), account_id, served.clock(), None
    )
    token = await served.token(key)
    for each in (token, "long-lived"):
        await served.call(each)
    assert await served.storage.administration.remove_service_account(account_id, served.clock())
    for each in (token, "long-lived"):
        assert (await served.refusal(each)).code() is grpc.StatusCode.UNAUTHENTICATED
    await served.storage.administration.add_service_account(
        account_id, "The same ID again", served.clock()
    )
    assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_oauth_tokens_are_not_known(served: Served) -> None:
    request = iam_token_service_pb2.CreateIamTokenRequest(yandex_passport_oauth_token="y0_secret")
    error = await refusal(served.iam.Create(request))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "OAuth" in str(error.details())
    assert "y0_secret" not in str(error)


@pytest.mark.parametrize("empty", [{}, {"jwt": ""}, {"yandex_passport_oauth_token": ""}])
async def test_neither_proof_is_a_bad_request_that_names_both(
    served: Served, empty: dict[str, str]
) -> None:
    error = await refusal(served.iam.Create(iam_token_service_pb2.CreateIamTokenRequest(**empty)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = details(error, error_details_pb2.BadRequest).field_violations
    fields = {violation.field for violation in violations}
    assert fields == {"jwt", "yandex_passport_oauth_token"}


async def test_a_revoked_token_is_refused_at_once(served: Served) -> None:
    key = await served.account()
    token, other = await served.token(key), await served.token(key)
    await served.call(token)
    for _ in range(2):  # repeating it changes nothing
        answer = await served.revoke(token, caller=other)
        assert answer.subject_id == key["service_account_id"]
        assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED
    await served.call(other)


async def test_a_token_can_revoke_itself(served: Served) -> None:
    token = await served.token(await served.account())
    await served.revoke(token, caller=token)
    assert (await refusal(served.revoke(token, caller=token))).code() is (
        grpc.StatusCode.UNAUTHENTICATED
    )


async def test_another_spelling_of_a_revoked_token_is_refused(served: Served) -> None:
    token = await served.token(await served.account())
    await served.call(token + "==")
    await served.revoke(token + "==", caller=token)
    assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED
    assert (await served.refusal(token + "==")).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_revocation_outlives_the_process(served: Served) -> None:
    token = await served.token(await served.account())
    await served.revoke(token, caller=token)
    async with serving(served.settings, served.clock) as again:
        assert (await again.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_revocations_are_forgotten_when_their_tokens_have_expired(served: Served) -> None:
    token = await served.token(await served.account())
    await served.revoke(token, caller=token)
    served.clock.at += timedelta(hours=13, seconds=-1)
    assert (await served.refusal(token)).code() is grpc.StatusCode.UNAUTHENTICATED
    assert (
        await served.storage.retention.clear_revoked_tokens(served.clock(), 10) == 0
    )  # clocks differ
    served.clock.at += timedelta(seconds=1)
    assert await served.storage.retention.clear_revoked_tokens(served.clock(), 10) == 1
    served.clock.at -= timedelta(hours=13)
    # Nothing is left of the first one's revocation: only its expiry refused it.
    await served.call(token)


async def test_an_access_token_can_be_revoked(served: Served) -> None:
    key = await served.account()
    caller = await served.token(key)
    await served.storage.administration.add_access_token(
        hash_token("long-lived"), key["service_account_id"], served.clock(), None
    )
    await served.call("long-lived")
    for _ in range(2):
        answer = await served.revoke("long-lived", caller)
        assert answer.subject_id == key["service_account_id"]
        assert (await served.refusal("long-lived")).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_revoking_needs_a_caller_and_a_token(served: Served) -> None:
    token = await served.token(await served.account())
    request = iam_token_service_pb2.RevokeIamTokenRequest(iam_token=token)
    assert (await refusal(served.iam.Revoke(request))).code() is grpc.StatusCode.UNAUTHENTICATED
    for wrong, code in {
        "": grpc.StatusCode.INVALID_ARGUMENT,
        "x" * 4097: grpc.StatusCode.INVALID_ARGUMENT,
        "x" * 40: grpc.StatusCode.UNAUTHENTICATED,
        token[:-3]: grpc.StatusCode.UNAUTHENTICATED,
    }.items():
        assert (await refusal(served.revoke(wrong, caller=token))).code() is code
    await served.call(token)
