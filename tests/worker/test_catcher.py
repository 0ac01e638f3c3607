"""The local mail catcher."""

import asyncio
import itertools
import logging
import shutil
import time
from collections.abc import AsyncIterator
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

import aiosmtplib
import pytest
import pytest_asyncio

from server.sandbox.mail_catcher import Catcher, start_catcher

TEXT = b"Subject: hello\r\n\r\n.\r\none \xd1\x8f\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "mail"


@pytest_asyncio.fixture
async def catcher(folder: Path) -> AsyncIterator[Catcher]:
    catcher = await start_catcher(folder, "127.0.0.1", 0)
    yield catcher
    await catcher.stop()


def kept(folder: Path) -> list[Path]:
    """The e-mails in the order of their names."""
    return sorted(folder.iterdir())


def client(catcher: Catcher) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(hostname="127.0.0.1", port=catcher.port)


async def test_keeps_each_e_mail_as_a_file(catcher: Catcher, folder: Path) -> None:
    async with client(catcher) as smtp:
        await smtp.sendmail("a@example.com", ["b@example.com", "c@example.com"], TEXT)
        # The answer means that it is there.
        (file,) = kept(folder)
    assert file.suffix == ".eml"
    content = file.read_bytes()
    assert content.endswith(TEXT)
    message = BytesParser(policy=default).parsebytes(content)
    assert message["Subject"] == "hello"
    assert message["Return-Path"] == "<a@example.com>"
    assert message.get_all("Delivered-To") == ["b@example.com", "c@example.com"]


async def test_takes_addresses_in_any_script(catcher: Catcher, folder: Path) -> None:
    async with client(catcher) as smtp:
        await smtp.sendmail(
            "a@example.com", ["почта@пример.рф"], TEXT, mail_options=["SMTPUTF8", "BODY=8BITMIME"]
        )
    (file,) = kept(folder)
    assert "Delivered-To: почта@пример.рф\r\n" in file.read_bytes().decode()


async def test_caught_mails_are_named_in_order_of_arrival(catcher: Catcher, folder: Path) -> None:
    async with client(catcher) as smtp:
        for number in range(20):
            await smtp.sendmail("a@example.com", ["b@example.com"], b"N: %d\r\n\r\n" % number)
    numbers = [
        int(BytesParser(policy=default).parsebytes(file.read_bytes())["N"]) for file in kept(folder)
    ]
    assert numbers == list(range(20))


async def test_names_sort_by_arrival_when_the_clock_goes_back(
    catcher: Catcher, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(2_000_000_000, -1)
    monkeypatch.setattr(time, "time_ns", lambda: next(seconds) * 10**9)
    async with client(catcher) as smtp:
        for number in range(3):
            await smtp.sendmail("a@example.com", ["b@example.com"], b"N: %d\r\n\r\n" % number)
    assert [b"N: %d" % n in file.read_bytes() for n, file in enumerate(kept(folder))] == [True] * 3


async def test_the_catcher_takes_many_mails_at_once(catcher: Catcher, folder: Path) -> None:
    async def send(number: int) -> None:
        async with client(catcher) as smtp:
            for _ in range(5):
                await smtp.sendmail(f"a{number}@example.com", ["b@example.com"], TEXT)

    await asyncio.gather(*(send(number) for number in range(8)))
    files = kept(folder)
    assert len(files) == 40
    assert {file.suffix for file in files} == {".eml"}


async def test_says_when_it_could_not_keep_an_e_mail(
    catcher: Catcher, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    away = folder.with_name("away")
    shutil.move(folder, away)
    async with client(catcher) as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError) as caught:
            await smtp.sendmail("canary@example.com", ["canary@example.com"], TEXT)
        assert caught.value.code == 451
        shutil.move(away, folder)
        await smtp.sendmail("canary@example.com", ["canary@example.com"], TEXT)
    assert len(kept(folder)) == 1
    assert "not kept" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_listens_on_loopback_only(folder: Path, host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        await start_catcher(folder, host, 0)


async def test_stops_while_somebody_is_connected(folder: Path) -> None:
    catcher = await start_catcher(folder, "localhost", 0)
    smtp = client(catcher)
    await smtp.connect()
    await catcher.stop()
    with pytest.raises(aiosmtplib.SMTPException):
        await client(catcher).connect()
    smtp.close()
