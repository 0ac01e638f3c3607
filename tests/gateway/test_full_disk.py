"""The gateway on a disk that is full for a while: nothing that it keeps up to date stops for good."""

import asyncio
import errno
from pathlib import Path

import httpx
import pytest

from gateway import envoy
from gateway.ports import GatewayError
from tests.gateway.conftest import TOKEN, make_settings, running


def _no_room(file: Path, _content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(file))


@pytest.mark.asyncio(loop_scope="session")
async def test_the_share_of_connections_is_told_again_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, max_connections=20) as harness:
        pressure = harness.settings.pressure
        with pytest.MonkeyPatch.context() as full:
            full.setattr(envoy, "replace_private", _no_room)
            async with httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as client:
                await client.get("/operations/a")
                async with asyncio.timeout(20):
                    while not caplog.records:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await asyncio.sleep(1)
                assert pressure.read_text() == "0.0"
                full.undo()
                async with asyncio.timeout(20):
                    while pressure.read_text() == "0.0":  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
        (told,) = [each.getMessage() for each in caplog.records if "stay as they are" in each.msg]
        assert "No space left on device" in told


@pytest.mark.asyncio(loop_scope="session")
async def test_what_can_not_be_written_is_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = make_settings(tmp_path)
    monkeypatch.setattr(envoy, "replace_private", _no_room)
    with pytest.raises(GatewayError, match="can't be used: No space left on device"):
        await envoy.Gateway(settings).start()
