"""Tokens that the server has not accepted lately stand in a line of their own; known ones pass by."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from gateway.known_tokens import BUSY_CLUSTER, CLUSTER, ORDINARY_PER_S
from gateway.route_parts import ANONYMOUS_BYTES
from tests.gateway.conftest import TOKEN, GatewayHarness, running
from tests.gateway.status import check_refusal
from tests.gateway.test_native import unary

pytestmark = pytest.mark.asyncio(loop_scope="session")

METHOD = "/yandex.cloud.operation.OperationService/Get"
WAIT = "/google.longrunning.Operations/WaitOperation"
PATH = "/operations/o"
# More than one connection may send with tokens that are not known.
MANY = 150

_NUMBERS = itertools.count()


def token() -> str:
    """Returns an Authorization that no test has used."""
    return f"Bearer token-{next(_NUMBERS)}"


def refuse(harness: GatewayHarness, code: grpc.StatusCode, *, caller_known: bool = False) -> None:
    """Has the server refuse calls."""

    async def answer(_: Any, context: Any) -> None:
        trailing = (("x-token-known", "1"),) if caller_known else ()
        await context.abort(code, "No.", trailing)

    harness.upstream.answers[METHOD] = answer


def connection(harness: GatewayHarness) -> grpc.aio.Channel:
    """Returns a channel that shares its connection with no other."""
    return grpc.aio.insecure_channel(harness.grpc, options=[("grpc.use_local_subchannel_pool", 1)])


async def called(channel: grpc.aio.Channel, authorization: str) -> grpc.aio.AioRpcError | None:
    try:
        await unary(channel, METHOD)(b"", metadata=(("authorization", authorization),))
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_forged_tokens_are_refused_at_the_gateway_when_they_are_many(
    harness: GatewayHarness,
) -> None:
    known = token()
    async with connection(harness) as one, connection(harness) as another:
        assert await called(one, known) is None
        refuse(harness, grpc.StatusCode.UNAUTHENTICATED)
        harness.upstream.calls.clear()
        errors = await asyncio.gather(*(called(one, token()) for _ in range(2 * MANY)))
        codes = [error.code() for error in errors if error]
        assert set(codes) == {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert len(codes) == 2 * MANY > len(harness.upstream.calls)
        # Who is known passes the line, and on another connection all are heard.
        harness.upstream.answers.clear()
        assert await called(one, known) is None
        assert await called(another, token()) is None


async def test_a_token_that_is_refused_stays_unknown(harness: GatewayHarness) -> None:
    refuse(harness, grpc.StatusCode.UNAUTHENTICATED)
    forged, before = token(), await taken(harness, CLUSTER)
    async with (
        connection(harness) as native,
        httpx.AsyncClient(base_url=harness.rest, headers={"authorization": forged}) as rest,
    ):
        for _ in range(2):
            assert await called(native, forged)
            assert (await rest.get(PATH)).status_code == 401
    assert await taken(harness, CLUSTER) == before + 4


async def test_the_latest_tokens_are_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gateway.known_tokens._MOST_BYTES", 1)
    one, other = token(), token()
    async with running(tmp_path) as harness, connection(harness) as channel:
        counts = []
        for each in (one, one, other, one):
            assert await called(channel, each) is None
            counts.append(await taken(harness, CLUSTER))
    assert counts == [1, 1, 2, 3]


async def test_who_is_refused_for_another_reason_is_known(harness: GatewayHarness) -> None:
    refuse(harness, grpc.StatusCode.NOT_FOUND, caller_known=True)
    known = token()
    async with connection(harness) as channel:
        for _ in range(MANY):
            error = await called(channel, known)
            assert error
            assert error.code() is grpc.StatusCode.NOT_FOUND
            trailing: Any = dict(iter(error.trailing_metadata()))
            assert "x-token-known" not in trailing


@pytest.mark.parametrize("refused", [False, True])
async def test_rest_callers_become_known(harness: GatewayHarness, refused: bool) -> None:
    async with httpx.AsyncClient(
        base_url=harness.rest, headers={"authorization": token()}
    ) as client:
        if refused:
            refuse(harness, grpc.StatusCode.NOT_FOUND, caller_known=True)
        answer = await client.get(PATH)
        assert answer.status_code == (404 if refused else 200)
        assert "x-token-known" not in answer.headers
        refuse(harness, grpc.StatusCode.UNAUTHENTICATED)
        assert {(await client.get(PATH)).status_code for _ in range(MANY)} == {401}


async def test_rest_callers_with_forged_tokens_are_told_when_to_come_again(
    harness: GatewayHarness,
) -> None:
    refuse(harness, grpc.StatusCode.UNAUTHENTICATED)
    async with httpx.AsyncClient(base_url=harness.rest) as client:
        for _ in range(10 * MANY):  # of which a slow machine sends hardly more than a second allows
            answer = await client.get(PATH, headers={"authorization": token()})
            if answer.status_code == 429:
                break
    check_refusal(answer, 429, 8, "RATE_EXCEEDED")
    assert answer.headers["retry-after"] == "1"


async def test_callers_can_not_choose_the_line(harness: GatewayHarness) -> None:
    own = {"x-token-line": "unknown", "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=harness.rest, headers=own) as client:
        answer = await client.post(
            "/billing/v1/customers:invite", content=b" " * (ANONYMOUS_BYTES + 1)
        )
        check_refusal(answer, 413, 3, "REQUEST_TOO_LARGE")
        assert (await client.get(PATH, headers=TOKEN)).status_code == 200
        assert "x-token-line" not in answer.headers
    assert "x-token-line" not in harness.upstream.calls[-1].metadata


async def taken(harness: GatewayHarness, cluster: str) -> int:
    """Returns how many calls have gone by this cluster."""
    admin = httpx.AsyncHTTPTransport(uds=str(harness.settings.admin_socket))
    async with httpx.AsyncClient(transport=admin, base_url="http://localhost") as client:
        (line,) = (
            await client.get("/stats", params={"filter": f"^cluster.{cluster}.upstream_rq_total$"})
        ).text.splitlines()
    return int(line.rpartition(":")[2])


async def test_who_sends_very_many_calls_stands_in_a_line_of_its_own(
    harness: GatewayHarness,
) -> None:
    busy, other = token(), token()
    async with connection(harness) as channel:
        assert await called(channel, busy) is None
        assert await called(channel, other) is None
        before = await taken(harness, BUSY_CLUSTER)
        assert await called(channel, busy) is None
        assert await taken(harness, BUSY_CLUSTER) == before
        # Some of them in one second, whenever that begins.
        many = await asyncio.gather(*(called(channel, busy) for _ in range(3 * ORDINARY_PER_S)))
        assert set(many) == {None}
        after = await taken(harness, BUSY_CLUSTER)
        assert before < after <= before + 2 * ORDINARY_PER_S + 1
        assert await called(channel, other) is None
        assert await taken(harness, BUSY_CLUSTER) == after


async def test_waits_of_who_sends_very_many_stand_in_no_line(harness: GatewayHarness) -> None:
    """They would keep their places in it for as long as they last; a server that stops ends many."""
    metadata = (("authorization", token()),)
    async with connection(harness) as channel:
        await unary(channel, WAIT)(b"", metadata=metadata)

        async def wait() -> grpc.StatusCode:
            try:
                await unary(channel, WAIT)(b"", metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        codes = await asyncio.gather(*(wait() for _ in range(3 * ORDINARY_PER_S)))
    assert set(codes) == {grpc.StatusCode.OK}


async def test_a_token_spelt_otherwise_is_not_remembered(harness: GatewayHarness) -> None:
    """It would count as another caller's."""
    before = await taken(harness, CLUSTER)
    async with connection(harness) as channel:
        for spelling in ("Bearer  {}", "bearer {}", "Bearer {} ", "Bearer {}==="):
            authorization = spelling.format(f"token-{next(_NUMBERS)}")
            for _ in range(2):
                assert await called(channel, authorization) is None
    assert await taken(harness, CLUSTER) == before + 8
