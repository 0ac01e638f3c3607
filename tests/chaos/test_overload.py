"""Far more calls than the service can do: it sheds, serves what it accepted, and recovers."""

import asyncio
import time
from pathlib import Path

from tests.chaos.audit import audit
from tests.chaos.load import callers
from tests.chaos.stack import stack

# Of which one account has half.
_ROOM = 20
_SECONDS = 2.0
# What a process may grow by while it sheds; it holds what _ROOM calls need and no more.
_GROWTH_KIB = 64 << 10


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"no such process: {pid}")


async def test_a_server_sheds_calls_beyond_its_limit_and_recovers(tmp_path: Path) -> None:
    """Sixty callers without a pause, where ten calls of theirs may be in work at once."""
    with stack(tmp_path / "var", max_concurrent_calls=_ROOM) as running:
        (server,) = running.servers()
        async with callers(running.service) as before:
            await asyncio.sleep(1)
        resident = _resident_kib(server)
        async with callers(running.service, each=10, pause_s=0) as crowd:
            began = time.monotonic()
            most = resident
            while time.monotonic() - began < _SECONDS:
                most = max(most, _resident_kib(server))
                await asyncio.sleep(0.1)
        calls = crowd.calls
        shed = [answer for _, _, answer in calls.refusals]
        assert {answer.refusal for answer in shed} == {"RESOURCE_EXHAUSTED", "429"}
        assert all(answer.retry_info for answer in shed)
        served = sum(calls.answers.values()) - len(shed)
        # It goes on serving, at a good part of what it can do.
        assert served / _SECONDS > sum(before.calls.answers.values()) / 4
        assert most - resident < _GROWTH_KIB
        assert not before.calls.failures()
        async with callers(running.service) as after:
            await asyncio.sleep(1)
        assert not after.calls.failures()
        calls.acknowledged |= before.calls.acknowledged | after.calls.acknowledged
        found = await asyncio.to_thread(audit, running, calls)
        assert not found.wrong
        assert found.done == found.acknowledged > 0
