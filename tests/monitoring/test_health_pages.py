"""What /livez and /readyz answer."""

import asyncio
import json

from server.monitoring.health import pages


async def test_each_check_says_why() -> None:
    async def fine() -> str:
        return ""

    async def away() -> str:
        return "the database is read-only, for 4 s"

    found = pages({"work": fine}, {"database": away})
    alive, ready = await found["/livez"](), await found["/readyz"]()
    assert (alive.status, json.loads(alive.body)["status"]) == (200, "alive")
    assert ready.status == 503
    assert json.loads(ready.body) == {
        "status": "not ready",
        "checks": {"work": "ok", "database": "the database is read-only, for 4 s"},
    }


async def test_many_who_ask_cost_what_one_does() -> None:
    asked = 0

    async def count() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return ""

    livez = pages({"work": count}, {})["/livez"]
    await asyncio.gather(*(livez() for _ in range(1000)))
    assert asked == 1
