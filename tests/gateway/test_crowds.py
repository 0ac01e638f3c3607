"""One address can't have all connections, whatever it does with them."""

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.crowds import Crowds, refusal
from tests.gateway.conftest import TOKEN, GatewayHarness, running
from tests.tasks import meanwhile

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue\n"
# 127.0.0.1:8080 and [::1]:8443, on a machine that writes the lowest byte first.
HERE, HERE_6 = "0100007F:1F90", "00000000000000000000000001000000:20FB"


HALF_A_HEADER = b"GET /operations/a HTTP/1.1\r\nhost: localhost\r\n"
HALF_A_BODY = (
    b"POST /iam/v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
    b"content-type: application/json\r\n\r\n{"
)


def lines(count: int, remote: str, local: str = HERE, state: str = "01") -> list[str]:
    return [
        f"   {n}: {local} {remote}:{n:04X} {state} 00000000:00000000 00\n" for n in range(count)
    ]


def crowds(*exempt: str) -> Crowds:
    return Crowds((8080, 8443), 100, exempt)


def judged(made: Crowds, *tables: list[str], requests: int = 0, at: float = 0.0) -> set[str]:
    made.judge([HEADER, *(line for table in tables for line in table)], requests, at)
    return {str(network) for network in made.refused}


def test_an_address_with_more_than_its_share_is_refused_until_it_has_calmed_down() -> None:
    made, other = crowds(), lines(19, "030000C0")
    assert judged(made, lines(80, "020000C0"), other) == set()
    assert judged(made, lines(81, "020000C0"), other) == {"192.0.0.2/32"}
    assert judged(made, lines(61, "020000C0"), at=100) == set()
    judged(made, lines(81, "020000C0"), at=100)
    assert judged(made, lines(61, "020000C0"), at=104) == {"192.0.0.2/32"}
    assert judged(made, lines(60, "020000C0"), at=108) == {"192.0.0.2/32"}
    assert judged(made, lines(60, "020000C0"), at=109) == set()
    assert judged(made, lines(61, "020000C0"), at=109) == set()


def test_while_many_requests_are_under_way_an_address_has_a_smaller_share() -> None:
    made, many, few = crowds(), lines(21, "020000C0"), lines(20, "030000C0")
    assert judged(made, many, few, requests=20) == set()
    assert judged(made, many, few, requests=21) == {"192.0.0.2/32"}
    assert judged(made, many, few, at=4.9) == {"192.0.0.2/32"}
    assert judged(made, many, few, requests=0, at=10) == set()
    assert not made.may_be(21, 20)
    assert not made.may_be(20, 21)
    assert made.may_be(21, 21)


def test_who_comes_again_at_once_is_refused_on() -> None:
    made, few = crowds(), lines(9, "020000C0")
    assert judged(made, lines(81, "020000C0")) == {"192.0.0.2/32"}
    made.note_refusals(500, 4)
    assert judged(made, few, at=8) == {"192.0.0.2/32"}
    made.note_refusals(900, 8)
    assert judged(made, few, at=9) == set()


def test_both_listeners_count_and_nothing_else() -> None:
    both = lines(41, "020000C0"), lines(40, "020000C0", local="0100007F:20FB")
    assert judged(crowds(), *both) == {"192.0.0.2/32"}
    assert judged(crowds(), lines(99, "020000C0", local="0100007F:C383")) == set()
    assert judged(crowds(), lines(99, "020000C0", state="06")) == set()


def test_a_caller_by_ipv6_has_its_whole_network() -> None:
    one, other = (f"B80D012001000000{rest}" for rest in ("0000000001000000", "0000010002000000"))
    assert judged(crowds(), lines(41, one, HERE_6), lines(41, other, HERE_6)) == {
        "2001:db8:0:1::/64"
    }
    mapped = "0000000000000000FFFF0000020000C0"
    assert judged(crowds(), lines(81, mapped, HERE_6)) == {"192.0.0.2/32"}


def test_proxies_in_front_have_as_many_as_there_are() -> None:
    assert judged(crowds("192.0.0.0/24"), lines(100, "020000C0")) == set()


def test_envoy_is_told_of_whole_networks() -> None:
    refused = [ipaddress.ip_network(each) for each in ("192.0.0.2/32", "2001:db8:0:1::/64")]
    (told,) = json.loads(refusal(refused))["resources"]
    (policy,) = told["typed_config"]["rules"]["policies"].values()
    assert [each["direct_remote_ip"] for each in policy["principals"]] == [
        {"address_prefix": "192.0.0.2", "prefix_len": 32},
        {"address_prefix": "2001:db8:0:1::", "prefix_len": 64},
    ]


@contextlib.asynccontextmanager
async def half_requests(
    harness: GatewayHarness, count: int, begun: bytes, again_s: float
) -> AsyncIterator[None]:
    """Keeps so many requests begun and not ended, each begun anew some time after it is broken off."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", harness.settings.http_port
                )
                writer.write(begun)
                with contextlib.closing(writer):
                    await reader.read()
            await asyncio.sleep(again_s)

    tasks = [asyncio.create_task(again()) for _ in range(count)]
    async with meanwhile(tasks):
        yield


async def served(harness: GatewayHarness, address: str) -> None:
    """Returns once a new connection from this address has been answered."""
    while True:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(
            transport=transport, base_url=harness.rest, headers=TOKEN
        ) as client:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get("/operations/a")
                assert answer.status_code == 200
                return
        await asyncio.sleep(0.05)


@pytest.mark.asyncio(loop_scope="session")
async def test_who_begins_requests_without_end_leaves_room_for_other_addresses(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, max_connections=50, request_arrival_s=1) as harness:
        async with half_requests(harness, 80, HALF_A_HEADER, 0.01):
            async with asyncio.timeout(20):
                while b"127.0.0.1" not in harness.settings.refused.read_bytes():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await served(harness, "127.0.0.2")
            # How soon is what `make strangers` measures; here other tests have the processors too.
            async with asyncio.timeout(30):
                for _ in range(20):
                    await served(harness, "127.0.0.2")
        async with asyncio.timeout(20):
            await served(harness, "127.0.0.1")


@pytest.mark.asyncio(loop_scope="session")
async def test_requests_without_end_are_ended_before_they_take_the_memory(tmp_path: Path) -> None:
    """Each takes some 25 KB, and a full heap would have everybody refused."""
    async with (
        running(tmp_path, memory_mib=104, request_arrival_s=90) as harness,
        half_requests(harness, 2_000, HALF_A_BODY, 60),
        httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as client,
        asyncio.timeout(45),  # they may take 90 s to arrive
    ):
        well = 0
        while well < 30:
            try:
                well = well + 1 if (await client.get("/operations/a")).status_code == 200 else 0
            except httpx.TransportError:  # its connection is of the crowd's address too
                well = 0
            await asyncio.sleep(0.1)
